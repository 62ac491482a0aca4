"""Verifiers that look at the picture, each an adapter of a model that another stage runs too.

They stand between the pipelines and the stages: they import the protocol of `datagen.negatives` and
the models of `datagen.regions`, `datagen.training` and `datagen.engines`; no stage imports them.
"""

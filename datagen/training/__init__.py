"""FG-CLIP's model and losses, trained on the aligned shards of a dataset."""

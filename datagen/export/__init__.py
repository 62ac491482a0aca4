"""Datasets in other people's formats: FineHARD, WebDataset, Hugging Face."""

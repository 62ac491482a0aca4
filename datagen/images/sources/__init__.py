"""Where images come from: folders, Parquet, WebDataset tars and FineHARD, by path or URL."""

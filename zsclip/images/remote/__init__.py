"""Pictures that are not on this machine: buckets, the web, the Hugging Face hub."""

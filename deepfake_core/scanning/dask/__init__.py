"""Shards judged on a Dask cluster."""

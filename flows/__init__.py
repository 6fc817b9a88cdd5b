"""The steps of the core as tracked, scheduled Prefect flows."""

"""The whole way from labelled folders to a promoted model."""

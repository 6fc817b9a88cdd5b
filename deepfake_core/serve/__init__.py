"""The doors for single images: the HTTP service and the web page."""

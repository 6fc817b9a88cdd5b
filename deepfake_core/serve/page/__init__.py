"""The web page: pictures judged in a browser, on this machine."""

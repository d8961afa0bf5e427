"""One person seen at many moments and by many cameras, fitted as one problem with one shape."""

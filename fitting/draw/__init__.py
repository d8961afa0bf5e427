"""Pictures: rasterisers, overlays, views, animations."""

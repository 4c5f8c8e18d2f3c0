"""The library: the commands as functions, and `Results`; `milepost` exports the names."""

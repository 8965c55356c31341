"""From pixels in tables, JSON, BSON, TFRecord and HDF5 to pictures and a table, as competitions ship them."""

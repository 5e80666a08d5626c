"""Many models behind one replica: which are loaded, and who asked for them."""

"""The scaling rules of the field, one pure function each, behind one interface."""

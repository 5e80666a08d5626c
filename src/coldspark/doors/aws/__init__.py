"""AWS's doors: one folder per service, over ``protocol``, which all of them share."""

"""Where an endpoint's cold starts spend their time, and what would shorten them."""

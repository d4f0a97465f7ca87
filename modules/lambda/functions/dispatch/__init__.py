"""Read deliveries, refuse what is wrong with them."""

"""``make prove``: repeats scenarios and defects, and keeps every raw verdict, so that n/n can be counted by anybody."""

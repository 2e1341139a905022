"""Providers: who vouches for users. A module for each kind."""

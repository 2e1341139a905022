"""Programs that show hive at work; see the README.md beside this file."""

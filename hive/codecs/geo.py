"""How places cross JSON: GeoJSON (RFC 7946), and coordinates alone are taken too."""

from typing import Any

from hive.codecs.codec import Codec, expect, json_of

DEPTH = {"Point": 1, "LineString": 2, "MultiPoint": 2, "Polygon": 3, "MultiLineString": 3, "MultiPolygon": 4}


class Geometry(Codec):
    """The GeoJSON fields: `PointField`, `PolygonField` and their kin."""

    def encode(self, value: Any) -> dict[str, Any]:
        coordinates = value["coordinates"] if isinstance(value, dict) else value
        return {"type": self.type, "coordinates": coordinates}

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return {"type": self.type, "coordinates": self.coordinates(value)}

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None

    @property
    def type(self) -> str:
        return str(getattr(self.field, "_type", "Point"))

    def coordinates(self, value: Any) -> Any:
        what = f"a GeoJSON {self.type}, or its coordinates"
        if isinstance(value, dict):
            expect(value.keys() == {"type", "coordinates"} and value["type"] == self.type, what)
            value = value["coordinates"]
        check(value, DEPTH[self.type], what)
        return value


class LegacyPoint(Geometry):
    """`GeoPointField`: stored as a pair."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return self.coordinates(value)


def check(value: Any, depth: int, what: str) -> None:
    """That `value` is lists of positions, `depth` lists deep, within the bounds of longitude and latitude."""
    expect(isinstance(value, list) and bool(value), what)
    if depth > 1:
        for item in value:
            check(item, depth - 1, what)
        return
    expect(len(value) == 2 and all(is_number(number) for number in value), what)
    expect(
        -180 <= value[0] <= 180 and -90 <= value[1] <= 90, "longitude within 180, latitude within 90 degrees"
    )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""What `AuthHive.routes_for` and `AuthHive.configure` take, and what they refuse at start-up."""

import inspect

import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, OpenIDProvider, Provider, authenticated

KEY = "k" * 32


class Credulous(Provider):
    """Believes whatever is posted."""

    async def authenticate(self, credentials, handler):
        return credentials


# AuthHive.routes_for


@pytest.mark.parametrize(
    "providers",
    [[None], ["google"], [Credulous], [object()], [Credulous(), {}], "google", None, 7, Credulous()],
    ids=["None", "name", "class", "object", "one is none", "text", "no list", "number", "one provider"],
)  # fmt: skip
def test_what_is_no_provider_is_refused(providers):
    with pytest.raises(TypeError):
        AuthHive.routes_for(providers)


def test_two_providers_of_a_name_are_refused():
    one, other = (OpenIDProvider("https://id.example.org", "x", name="corp") for _ in range(2))
    for providers in ([one, other], [one, one], [Credulous(), Credulous()]):
        with pytest.raises(ValueError, match="Two providers have the name"):
            AuthHive.routes_for(providers)


def test_two_providers_of_a_name_under_two_prefixes_are_refused():
    one, other = (OpenIDProvider(f"https://{host}.example.org", "x") for host in "ab")
    made = Application(AuthHive.routes_for([one]) + AuthHive.routes_for([other], prefix="/two"))
    with pytest.raises(ValueError, match="Two providers have the name 'openid'"):
        AuthHive.configure(made, secret_key=KEY)


@pytest.mark.parametrize(
    "name", ["", "a/b", "A", "a b", "ü", "..", ".", "-a", "_a", "a\n", "a%2F", "<a>"], ids=repr
)
def test_name_that_is_no_part_of_an_address_is_refused(name):
    provider = Credulous()
    provider.name = name
    with pytest.raises((ValueError, TypeError), match="name"):
        AuthHive.routes_for([provider])


@pytest.mark.parametrize("name", ["a", "7", "signin", "me", "corp-eu_1"])
def test_other_names_are_taken(name):
    provider = Credulous()
    provider.name = name
    assert len(AuthHive.routes_for([provider])) == 5


def test_name_is_that_of_the_class_unless_given():
    class LDAP(Provider):
        pass

    class Named(LDAP):
        name = "corp"

    class Child(Named):
        pass

    assert [provider.name for provider in (LDAP, Named, Child)] == ["ldap", "corp", "corp"]


def test_routes_can_be_made_from_an_iterator():
    assert len(AuthHive.routes_for(iter([Credulous()]))) == 5


# AuthHive.configure


@pytest.mark.parametrize(
    "how",
    [{"expiration": 0}, {"expiration": -1}, {"absolute_expiration": 0}, {"expiration": 2,
     "absolute_expiration": 1},
     {"expiration": "20"}, {"expiration": None}, {"absolute_expiration": None}, {"expiration": float("nan")},
     {"origin": "example.org"}, {"origin": ""},
     {"rates_in": "disk"}, {"signin_rate": "often"}, {"write_rate": 5}, {"secret_key": "short"}],
    ids=str,
)  # fmt: skip
def test_configure_refuses_what_it_cannot_do_with_a_sentence(how):
    made = Application()
    with pytest.raises((ValueError, TypeError), match=r"^[a-zA-Z'].{15,}"):
        AuthHive.configure(made, **{"secret_key": KEY} | how)
    assert not [name for name in made.settings if "hive" in name]


@pytest.mark.parametrize("how", [{"secret": KEY}, {"expires": 5}, {}], ids=["unknown", "misspelt", "no key"])
def test_configure_takes_no_argument_that_there_is_not(how):
    with pytest.raises(TypeError):
        AuthHive.configure(Application(), **how)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("expiration", "20"), ("expiration", None), ("expiration", 1.5), ("expiration", 10**9),
        ("cookie_name", None), ("origin", 5), ("origin", "https://a:99999"), ("signin_rate", "often"),
        ("signin_rate", "0/minute"), ("write_rate", 5), ("rates_in", "redis"),
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_that_cannot_be_is_named(option, value):
    with pytest.raises(ValueError, match=option.split("_")[0]):
        AuthHive.configure(Application(), secret_key=KEY, **{option: value})


def test_configure_takes_an_application_and_routes_for_a_list():
    with pytest.raises(TypeError, match="configure takes"):
        AuthHive.configure([], secret_key=KEY)
    with pytest.raises(TypeError, match="takes a list of providers"):
        AuthHive.routes_for(Credulous())


def test_a_provider_whose_method_is_not_async_is_refused():
    class Sync(Provider):
        def authenticate(self, credentials, handler):
            return credentials

    with pytest.raises(TypeError, match="must be `async def`"):
        AuthHive.routes_for([Sync()])


# @hive.authenticated


class Methods(RequestHandler):
    @authenticated
    def get(self, name=None):
        """Tells who asks."""


class Bare(RequestHandler):
    pass


@authenticated
class Whole(Bare):
    """Needs a session."""


def test_decorated_method_keeps_name_and_docstring():
    assert (Methods.get.__name__, Methods.get.__doc__) == ("get", "Tells who asks.")
    assert Methods.get.__qualname__ == "Methods.get"
    assert list(inspect.signature(Methods.get).parameters) == ["self", "name"]
    assert (Whole.__name__, Whole.__doc__, issubclass(Whole, Bare)) == ("Whole", "Needs a session.", True)

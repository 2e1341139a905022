"""Django REST framework and mongoengine, under gunicorn: a view set, a serializer and pages."""

import os
import sys

import django
import mongoengine as me
from django.conf import settings

from benchmarks.people import DATABASE

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["rest_framework", "rest_framework_mongoengine"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    ROOT_URLCONF=__name__,
    TIME_ZONE="UTC",
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],  # nobody signs in, as with all others
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
)
me.connect(DATABASE, host=os.environ.get("MONGODB_URI"), uuidRepresentation="standard", connect=False)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django must be set up before
from rest_framework.pagination import PageNumberPagination  # noqa: E402
from rest_framework_mongoengine import routers, serializers, viewsets  # noqa: E402

from benchmarks.models import Person  # noqa: E402


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "per_page"
    max_page_size = 100


class PersonSerializer(serializers.DocumentSerializer):
    class Meta:
        model = Person
        fields = "__all__"


class PersonViewSet(viewsets.ModelViewSet):
    serializer_class = PersonSerializer
    pagination_class = Pages
    lookup_field = "id"

    def get_queryset(self):
        return Person.objects.order_by("id")


router = routers.DefaultRouter(trailing_slash=False)
router.register("person", PersonViewSet, basename="person")
urlpatterns = router.urls


application = get_wsgi_application()


if __name__ == "__main__":
    os.environ["MONGODB_URI"] = sys.argv[2]
    arguments = f"--bind 127.0.0.1:{sys.argv[1]} --workers 1 --log-level error".split()
    program = "benchmarks.designs.drf:application"
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments, program])  # noqa: S606

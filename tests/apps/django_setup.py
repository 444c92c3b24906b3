"""Makes the database, the administrator and the static files of the Django project; run by the tests."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ["DJANGO_SETTINGS_MODULE"] = "djangosite.settings"

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
call_command("collectstatic", "--noinput", verbosity=0)

from django.contrib.auth.models import User

User.objects.create_superuser("admin", "admin@example.org", "secret")

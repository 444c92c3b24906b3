"""What `django-admin startproject` writes as wsgi.py; the project's directory comes from the configuration."""
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangosite.settings")

application = get_wsgi_application()

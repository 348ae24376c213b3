"""A browser for the pages of MLflow."""

from tests.browser import chromium as chromium

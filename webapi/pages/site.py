"""All pages of an application."""

from flask import Flask
from jinja2 import select_autoescape

from webapi.pages import page_blueprints, page_errors
from webapi.pages.page_views import (
    account_pages,
    answer_pages,
    class_pages,
    login_pages,
    naming_pages,
    own_photo_pages,
    photo_files,
    review_pages,
    static_files,
)
from webapi.pages.page_views.dashboard import dashboard_pages
from webapi.pages.page_views.many_photos import batch_pages, many_pages
from webapi.pages.page_views.model_choice import promotion_pages, training_pages, version_pages
from webapi.pages.page_views.shadow import shadow_pages
from webapi.pages.page_words import languages, template_words


def init_app(app: Flask) -> None:
    """Add the pages to an application. Call it after the API's routes are registered."""
    app.template_folder = str(page_blueprints.TEMPLATES)
    app.jinja_options = {"autoescape": select_autoescape(default=True), "trim_blocks": True, "lstrip_blocks": True}
    languages.init_app(app)
    page_blueprints.init_app(app)
    page_errors.init_app(app)
    static_files.init_app(app)
    template_words.init_app(app)
    for module in (
        static_files,
        login_pages,
        naming_pages,
        answer_pages,
        many_pages,
        batch_pages,
        class_pages,
        own_photo_pages,
        account_pages,
        photo_files,
        review_pages,
        shadow_pages,
        dashboard_pages,
        version_pages,
        promotion_pages,
        training_pages,
    ):
        app.register_blueprint(module.pages)

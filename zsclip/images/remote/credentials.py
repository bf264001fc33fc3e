"""With which keys buckets are asked: those of the environment and of profiles, else none.

A machine's own role is not looked for unless AWS_EC2_METADATA_DISABLED=false asks for it: where there are no keys, the look-up is a
request to 169.254.169.254 that takes seconds to fail, and public buckets need none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsclip.errors import InputError

if TYPE_CHECKING:
    import botocore.credentials

_RENEWED_AFTER = timedelta(minutes=15)
# Sets of variables of which one suffices, and with less than one of which obstore would ask a machine's metadata.
_S3 = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
)
_GOOGLE = (
    ("GOOGLE_SERVICE_ACCOUNT",),
    ("GOOGLE_SERVICE_ACCOUNT_PATH",),
    ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    ("GOOGLE_APPLICATION_CREDENTIALS",),
)
_AZURE = (
    ("AZURE_STORAGE_ACCOUNT_KEY",),
    ("AZURE_STORAGE_ACCESS_KEY",),
    ("AZURE_STORAGE_SAS_TOKEN",),
    ("AZURE_STORAGE_SAS_KEY",),
    ("AZURE_STORAGE_TOKEN",),
    ("AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID"),
    ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"),
    ("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID"),
)


def _given(sets: tuple[tuple[str, ...], ...]) -> bool:
    return any(all(map(os.environ.get, names)) for names in sets)


def _s3(sign: bool) -> tuple[bool, dict[str, Any]]:
    options: dict[str, Any] = {}
    endpoint = next(filter(None, map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))), "")
    if endpoint:
        options["endpoint"] = endpoint
        options["client_options"] = {"allow_http": endpoint.startswith("http://")}
    if not os.environ.get("AWS_REGION") and (region := os.environ.get("AWS_DEFAULT_REGION")):
        options["region"] = region
    profile = os.environ.get("AWS_PROFILE")
    if sign and _given(_S3) and not profile:
        return True, options
    if sign and find_spec("boto3"):
        provider, region = _boto3(profile)
        if region and not os.environ.get("AWS_REGION"):
            options.setdefault("region", region)
        if provider:
            return True, {**options, "credential_provider": provider}
    elif sign and profile:
        raise InputError(f"AWS_PROFILE={profile} is read by boto3.", remedy="Install it: pip install boto3.")
    elif sign and _asks_metadata():
        return True, options
    return False, {**options, "skip_signature": True}


def _asks_metadata() -> bool:
    return os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"


def _boto3(profile: str | None) -> tuple[_Provider | None, str | None]:
    """The keys that boto3 finds, and the region of the profile."""
    import boto3
    import botocore.exceptions
    import botocore.session

    try:
        session = botocore.session.Session(profile=profile)
        if not _asks_metadata():
            session.get_component("credential_provider").remove("iam-role")
        found = session.get_credentials()
        region = boto3.Session(botocore_session=session).region_name
        provider = _Provider(found) if found else None
        if provider:
            provider()
    except botocore.exceptions.BotoCoreError as error:
        raise InputError(
            f"the keys of {f'AWS_PROFILE={profile}' if profile else 'the profile'} cannot be had ({type(error).__name__}).",
            remedy="Log in again, as with aws sso login, or check the profile.",
        ) from None
    return provider, region


class _Provider:
    """Gives obstore the keys that boto3 has, and new ones when they are old."""

    def __init__(self, credentials: botocore.credentials.Credentials) -> None:
        self._credentials = credentials

    def __call__(self) -> dict[str, Any]:
        keys = self._credentials.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(timezone.utc) + _RENEWED_AFTER,
        }


def _google(sign: bool) -> tuple[bool, dict[str, Any]]:
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        # As Google's own clients do. obstore takes another server's address from a file of keys only.
        address = emulator if "://" in emulator else f"http://{emulator}"
        key = {
            "gcs_base_url": address,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        options = {
            "service_account_key": json.dumps(key),
            "client_options": {"allow_http": address.startswith("http://")},
        }
        return False, options
    if sign and _given(_GOOGLE):
        return True, {}
    folder = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud"
    login = Path(folder) / "application_default_credentials.json"
    return (
        (True, {"application_credentials": str(login)})
        if sign and login.is_file()
        else (False, {"skip_signature": True})
    )


def _azure(sign: bool) -> tuple[bool, dict[str, Any]]:
    if not _given((("AZURE_STORAGE_ACCOUNT_NAME",), ("AZURE_STORAGE_USE_EMULATOR",))):
        raise InputError("az:// needs the name of a storage account.", remedy="Set AZURE_STORAGE_ACCOUNT_NAME.")
    options = {"client_options": {"allow_http": bool(os.environ.get("AZURE_STORAGE_USE_EMULATOR"))}}
    return (True, options) if sign and _given(_AZURE) else (False, {**options, "skip_signature": True})


# By scheme: whether requests are signed, and what obstore is told.
OF: dict[str, Callable[[bool], tuple[bool, dict[str, Any]]]] = {"s3": _s3, "gs": _google, "az": _azure}

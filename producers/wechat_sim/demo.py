"""The apps of the stand-in, and the file of apps that names them. Secrets are made once."""

import secrets
import string
from pathlib import Path
from typing import Final

from producers.wechat_sim.accounts import PushTarget, SimulatedApp, SimulatedComponent
from producers.wechat_sim.world import SimulatedWechat

OWN_APP: Final = "wx5100000000000001"
AUTHORIZED_APP: Final = "wx5100000000000002"
PLATFORM: Final = "wx51000000000000aa"

FIRST_PACKS: Final = {OWN_APP: "ZY2823973277692000001", AUTHORIZED_APP: "ZY2823973277692000002"}
"""The pack that each app has from the beginning, under the same id after each start."""

AES_KEY_LETTERS: Final = 43
NAMES: Final = (
    "app_secret",
    "app_push_token",
    "app_push_aes_key",
    "platform_secret",
    "platform_ticket",
    "platform_push_token",
    "platform_push_aes_key",
    "refresh_token",
)

APPS: Final = f"""\
# Written for the stand-in for WeChat; a file for WeChat itself looks the same.
[apps.{OWN_APP}]
capabilities = ["quick", "realtime"]
secret = "file:app_secret"
push_token = "file:app_push_token"
push_aes_key = "file:app_push_aes_key"

[apps.{AUTHORIZED_APP}]
component = "{PLATFORM}"
refresh_token = "file:refresh_token"

[components.{PLATFORM}]
secret = "file:platform_secret"
push_token = "file:platform_push_token"
push_aes_key = "file:platform_push_aes_key"
"""


def write_files(directory: Path) -> Path:
    """Write the file of apps and the secrets that are missing; return the file's path."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = directory / name
        if not path.exists():
            letters = string.ascii_letters + string.digits
            # As long as an EncodingAESKey, which is made of letters and digits.
            path.write_text(
                "".join(secrets.choice(letters) for _ in range(AES_KEY_LETTERS)), encoding="utf-8"
            )
    path = directory / "apps.toml"
    path.write_text(APPS, encoding="utf-8")
    return path


def demo_world(directory: Path, push_port: int) -> SimulatedWechat:
    """The stand-in with an app of its own secret, and one that has authorized a third-party platform."""
    secret = {name: (directory / name).read_text(encoding="utf-8") for name in NAMES}
    base = f"http://127.0.0.1:{push_port}/wechat/push"
    wechat = SimulatedWechat()
    own = PushTarget(f"{base}/{OWN_APP}", secret["app_push_token"], secret["app_push_aes_key"])
    platform = PushTarget(
        f"{base}/{PLATFORM}", secret["platform_push_token"], secret["platform_push_aes_key"]
    )
    wechat.add(SimulatedApp(OWN_APP, secret["app_secret"], push=own))
    wechat.add(SimulatedApp(AUTHORIZED_APP, component=PLATFORM, refresh_token=secret["refresh_token"]))
    wechat.add(SimulatedComponent(PLATFORM, secret["platform_secret"], secret["platform_ticket"], platform))
    for appid, pack_id in FIRST_PACKS.items():
        wechat.buy(appid, "quick", 250, 90, pkg_id=pack_id)
    return wechat

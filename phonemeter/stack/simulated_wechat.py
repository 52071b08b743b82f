"""Settings of a stack that has a stand-in for WeChat instead of WeChat's servers."""

from phonemeter.settings import Settings
from phonemeter.stack.directory import StackDirectory, private_files
from producers.wechat_sim.demo import write_files


def with_simulated_wechat(settings: Settings) -> Settings:
    """The same settings with the stand-in, its apps and its address; the file of apps is written."""
    with private_files():
        apps = write_files(StackDirectory(settings.data_dir).of("wechat-sim"))
    return settings.replaced(
        wechat_sim=True,
        wechat_apps=apps,
        wechat_api=f"http://127.0.0.1:{settings.wechat_sim_port}",
    )

#include "test_alert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "command_line.hpp"
#include "saathii/alert/face.hpp"

namespace saathii::app {

namespace {

alert::Letter test_letter(const config::Config& config) {
  alert::Message message;
  message.event = alert::Message::Event::test;
  message.at = wall_now();
  message.since = message.at;
  message.alerts = {fmt::format("test.{}", message.at.time_since_epoch().count())};
  message.reason = "somebody asked for it";
  return alert::write_letter(std::move(message),
                             {alert::host_name(), tz::locate_zone(config.platform.timezone)});
}

/// Prints one line. True: it arrived, with every recipient.
bool send_by(std::string_view name, alert::Channel& channel, alert::Delivery delivery) {
  const auto began = std::chrono::steady_clock::now();
  const alert::Verdict verdict = channel.send(delivery, {});
  const auto took = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
  const bool sent = verdict.kind == alert::Verdict::Kind::delivered;
  std::printf("%-8s  %-6s  %8s  %s\n", std::string(name).c_str(), sent ? "sent" : "failed",
              humanize(took).c_str(), verdict.detail.c_str());
  return sent && verdict.detail.empty();
}

}  // namespace

int run_test_alert(const std::string& channel, const config::Config& config) {
  const auto& names = alert::channel_names;
  if (!channel.empty() &&
      std::find(std::begin(names), std::end(names), channel) == std::end(names)) {
    return usage_error(
        fmt::format("there is no way '{}' for alerts to go: known are command, "
                    "webhook and mail",
                    channel));
  }
  const alert::Delivery delivery{std::make_shared<const alert::Letter>(test_letter(config))};
  std::size_t tried = 0;
  std::size_t failed = 0;
  for (const std::string_view name : names) {
    const auto way = alert::make_channel(name, config.alerts);
    if (way && (channel.empty() || channel == name)) {
      ++tried;
      failed += send_by(name, *way, delivery) ? 0 : 1;
    }
  }
  if (tried == 0) {
    std::fprintf(stderr,
                 "saathiid: %s is configured, so no alert is ever sent: see [alerts.%s] in the "
                 "configuration\n",
                 channel.empty() ? "no way for alerts to go" : channel.c_str(),
                 channel.empty() ? "mail" : channel.c_str());
    return exit_failure;
  }
  return failed == 0 ? exit_ok : exit_failure;
}

}  // namespace saathii::app

#include "alert_file.hpp"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "saathii/log/log.hpp"

namespace saathii::app {

namespace {

std::vector<alert::Told> parse(const std::string& text) {
  std::vector<alert::Told> told;
  const auto json = nlohmann::json::parse(text);
  if (!json.is_array()) {
    throw std::runtime_error("it holds no list");
  }
  for (const auto& entry : json) {
    const auto subject = entry.at("subject").get<std::string>();
    const auto kind = alert::parse_kind(entry.at("kind").get<std::string>());
    const auto since = parse_iso8601(entry.at("since").get<std::string>());
    if (!kind || !since) {
      throw std::runtime_error("what it says of " + subject + " makes no sense");
    }
    told.push_back({subject, *kind, entry.at("id").get<std::string>(), *since});
  }
  return told;
}

std::string print(const std::vector<alert::Told>& told) {
  auto json = nlohmann::ordered_json::array();
  for (const alert::Told& each : told) {
    json.push_back({{"subject", each.subject},
                    {"kind", std::string(alert::to_string(each.kind))},
                    {"id", each.id},
                    {"since", to_iso8601(each.since)}});
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

AlertFile AlertFile::in_state_folder() {
  return AlertFile(StateFile::in_state_folder("alerts.json"));
}

std::vector<alert::Told> AlertFile::load() const {
  try {
    const auto text = file_.read();
    return text ? parse(*text) : std::vector<alert::Told>{};
  } catch (const std::exception& error) {
    log::write_unfolded(
        log::Level::warning,
        fmt::format("{} cannot be read, so nobody hears of the end of alerts that were "
                    "sent before this start: {}",
                    file_.path().string(), error.what()),
        {{"FILE", file_.path().string()}});
    return {};
  }
}

void AlertFile::save(const std::vector<alert::Told>& told) const { file_.write(print(told)); }

AlertKeeper::AlertKeeper(boost::asio::any_io_executor loop, runner::SideWorker& worker,
                         AlertFile file)
    : loop_(std::move(loop)), worker_(worker), file_(std::move(file)) {}

std::vector<alert::Told> AlertKeeper::load() {
  latest_ = saved_ = file_.load();
  return saved_;
}

void AlertKeeper::warn(const std::exception& error) {
  log::warning(
      fmt::format("after a restart nobody may hear of the end of alerts that are open: "
                  "{}; it is tried again",
                  error.what()));
}

void AlertKeeper::keep(std::vector<alert::Told> told) {
  latest_ = std::move(told);
  if (latest_ == saved_ || saving_) {
    return;
  }
  if (!loop_ended_) {
    saving_ = true;
    boost::asio::co_spawn(loop_, save(), boost::asio::detached);
    return;
  }
  try {
    file_.save(latest_);
    saved_ = latest_;
  } catch (const std::runtime_error& error) {
    warn(error);
  }
}

boost::asio::awaitable<void> AlertKeeper::save() {
  try {
    while (latest_ != saved_) {
      std::vector<alert::Told> told = latest_;
      auto write = [this, &told](const std::stop_token&) { file_.save(told); };
      co_await worker_.run(write);
      saved_ = std::move(told);
    }
  } catch (const runner::Overloaded&) {
    // The next look hands it over again, and so does the end.
  } catch (const std::runtime_error& error) {
    warn(error);
  }
  saving_ = false;
}

}  // namespace saathii::app

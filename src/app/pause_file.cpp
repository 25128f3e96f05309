#include "pause_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "saathii/log/log.hpp"

namespace saathii::app {

namespace {

PauseFile::Pauses parse(const std::string& text) {
  PauseFile::Pauses pauses;
  const auto json = nlohmann::json::parse(text);
  for (const auto& [job, entry] : json.items()) {
    const auto since = parse_iso8601(entry.at("since").get<std::string>());
    if (!since) {
      throw std::runtime_error("\"since\" of " + job + " is no moment");
    }
    pauses[job] = {entry.at("by").get<std::string>(), *since};
  }
  return pauses;
}

std::string print(const PauseFile::Pauses& pauses) {
  auto json = nlohmann::ordered_json::object();
  for (const auto& [job, pause] : pauses) {
    json[job] = {{"by", pause.by}, {"since", to_iso8601(pause.since)}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

PauseFile PauseFile::in_state_folder() {
  return PauseFile(StateFile::in_state_folder("paused.json"));
}

PauseFile::Pauses PauseFile::load() const {
  try {
    const auto text = file_.read();
    return text ? parse(*text) : Pauses{};
  } catch (const std::exception& error) {
    const std::string file = file_.path().string();
    log::error(log::Message::pauses_unread,
               fmt::format("{} cannot be read, so no job is paused: {}", file, error.what()),
               {{"FILE", file}});
    return {};
  }
}

void PauseFile::save(const Pauses& pauses) const {
  try {
    file_.write(print(pauses));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(std::string("it holds until the next restart only: ") + error.what());
  }
}

}  // namespace saathii::app

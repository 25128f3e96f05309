#include "saathii/jobs/status_events.hpp"

#include <nlohmann/json.hpp>

#include "saathii/log/log.hpp"
#include "saathii/postgres/array.hpp"
#include "status_events.sql.hpp"

namespace saathii::jobs {

namespace {

constexpr const char* channel = "status_updates";

template <typename Value>
nlohmann::json or_null(const pqxx::field& field) {
  return field.is_null() ? nlohmann::json(nullptr) : nlohmann::json(field.as<Value>());
}

nlohmann::json moment_or_null(const pqxx::field& microseconds) {
  if (microseconds.is_null()) {
    return nullptr;
  }
  return to_isoformat(Instant{std::chrono::microseconds{microseconds.as<std::int64_t>()}});
}

redis::Command to_command(const pqxx::row& row, const std::string& timestamp) {
  const int user_id = row["user_id"].as<int>();
  const bool online = row["is_online"].as<bool>();
  const bool busy = row["is_busy"].as<bool>();
  const nlohmann::ordered_json message = {
      {"type", "status_update"},
      {"user_id", user_id},
      {"data",
       {{"user_id", user_id},
        {"username", row["username"].as<std::string>()},
        {"profile_image_url", or_null<std::string>(row["profile_image_url"])},
        {"is_online", online},
        {"last_seen", moment_or_null(row["last_seen_us"])},
        {"is_busy", busy},
        {"wait_time", or_null<int>(row["wait_time"])},
        {"is_available", online && !busy},
        {"timestamp", timestamp}}},
      {"timestamp", timestamp}};
  return {"PUBLISH", channel,
          message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

}  // namespace

std::string to_isoformat(Instant moment) {
  std::string text = to_iso8601(moment);
  text.replace(text.size() - 1, 1, "+00:00");
  return text;
}

std::vector<redis::Command> status_updates(postgres::Session& session,
                                           const std::vector<int>& user_ids, Instant moment) {
  std::vector<redis::Command> commands;
  if (user_ids.empty()) {
    return commands;
  }
  const auto rows = session.autocommit([&](auto& each) {
    return session.exec(each, sql::status_events::current_status, postgres::to_array(user_ids));
  });
  const std::string timestamp = to_isoformat(moment);
  commands.reserve(user_ids.size());
  for (const auto& row : rows) {
    commands.push_back(to_command(row, timestamp));
  }
  return commands;
}

std::int64_t publish_status(const Context& context, postgres::Session& session,
                            const std::vector<int>& user_ids, Instant moment) {
  std::int64_t unpublished = 0;
  for (std::size_t begin = 0; begin < user_ids.size(); begin += max_status_updates) {
    context.throw_if_stopped();
    const std::size_t end = std::min(begin + max_status_updates, user_ids.size());
    const auto at = [&](std::size_t index) {
      return user_ids.begin() + static_cast<std::ptrdiff_t>(index);
    };
    const auto commands = status_updates(session, {at(begin), at(end)}, moment);
    try {
      for (const auto& reply : context.redis.pipeline(commands)) {
        if (reply.kind == redis::Reply::Kind::error) {
          ++unpublished;
          log::warning(log::Message::publish_refused, "Redis refused to publish a status",
                       {{"ERROR", reply.text}});
        }
      }
    } catch (const Unavailable&) {
      // ServerState has logged the outage. What was sent before it is unknown.
      unpublished += static_cast<std::int64_t>(commands.size());
    }
  }
  return unpublished;
}

}  // namespace saathii::jobs

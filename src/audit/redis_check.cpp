#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <set>

#include "audit.sql.hpp"
#include "check.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/redis/client.hpp"

namespace saathii::audit {

namespace {

constexpr int page_calls = 500;
constexpr const char* scan_keys = "1000";
/// Ten million keys.
constexpr int max_scans = 10'000;
/// Of calls that are looked at again. With more of them there is no doubt.
constexpr std::size_t max_suspects = 10'000;
constexpr int looks = 3;
/// The API writes the hash after it has committed the call.
constexpr Duration to_appear = std::chrono::minutes{1};
/// Set by the API once, and by every charge.
constexpr std::int64_t ttl_s = 7200;

/// What PostgreSQL says of an ongoing call.
struct Shown {
  int call_id = 0;
  std::vector<std::pair<std::string, std::string>> fields;
  std::int64_t start_s = 0;
};

std::string key_of(int call_id) { return "call:" + std::to_string(call_id); }

std::vector<Shown> shown_in(const pqxx::result& rows) {
  std::vector<Shown> calls;
  for (const auto& row : rows) {
    calls.push_back({row[0].as<int>(),
                     {{"user_id", row[1].c_str()},
                      {"listener_id", row[2].c_str()},
                      {"call_type", row[3].c_str()},
                      {"coins_spent", row[5].c_str()}},
                     row[4].as<std::int64_t>()});
  }
  return calls;
}

std::string value_of(const redis::Reply& hash, std::string_view field) {
  for (std::size_t at = 0; at + 1 < hash.list.size(); at += 2) {
    if (hash.list[at].text == field) {
      return hash.list[at + 1].text;
    }
  }
  return {};
}

/// Whole seconds, rounded one way or the other.
bool is_start(const std::string& text, std::int64_t start_s) {
  double found = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), found);
  return error == std::errc{} && end == text.data() + text.size() &&
         std::abs(found - static_cast<double>(start_s)) <= 1;
}

std::optional<Offender> judge(const Shown& call, const redis::Reply& hash,
                              const redis::Reply& ttl) {
  Offender offender{.kind = "differs", .call_id = call.call_id};
  const auto user = call.fields.front().second;
  if (!user.empty()) {
    offender.user_id = std::stoll(user);
  }
  if (hash.kind != redis::Reply::Kind::list || hash.list.empty()) {
    offender.kind = "missing";
    offender.expected = "hash " + key_of(call.call_id);
    offender.found = hash.kind == redis::Reply::Kind::error ? "no hash" : "none";
    return offender;
  }
  for (const auto& [field, expected] : call.fields) {
    if (const auto found = value_of(hash, field); found != expected) {
      offender.expected = fmt::format("{} {}", field, expected);
      offender.found = found.empty() ? "none" : found;
      return offender;
    }
  }
  if (const auto found = value_of(hash, "start_time"); !is_start(found, call.start_s)) {
    offender.expected = fmt::format("start_time {}", call.start_s);
    offender.found = found.empty() ? "none" : found;
    return offender;
  }
  // -2: gone between the two questions.
  if (ttl.integer == -1 || ttl.integer > ttl_s) {
    offender.kind = "lives_too_long";
    offender.expected = fmt::format("a life of {} s at most", ttl_s);
    offender.found = ttl.integer == -1 ? "for ever" : fmt::format("{} s", ttl.integer);
    return offender;
  }
  return std::nullopt;
}

std::optional<int> call_of(const std::string& key) {
  constexpr std::string_view prefix = "call:";
  int call_id = 0;
  const char* begin = key.data() + std::min(prefix.size(), key.size());
  const char* end = key.data() + key.size();
  const auto [stop, error] = std::from_chars(begin, end, call_id);
  return error == std::errc{} && stop == end ? std::optional(call_id) : std::nullopt;
}

class Comparison {
 public:
  Comparison(postgres::Session& session, redis::Client& redis, Instant as_of,
             const std::stop_token& stop)
      : session_(session), redis_(redis), as_of_(as_of), stop_(stop) {}

  /// All of both; returns what differed at every look.
  std::vector<Offender> compare(Duration settles_in);

  std::int64_t hashes = 0;

 private:
  void look_at_calls();
  void look_at_keys();
  std::vector<Offender> look_again();
  std::vector<Offender> judge_page(const std::vector<Shown>& calls);
  void suspect(const std::vector<int>& call_ids);
  std::vector<Shown> ongoing_among(const std::vector<int>& call_ids);
  void pause(Duration length);

  postgres::Session& session_;
  redis::Client& redis_;
  const Instant as_of_;
  const std::stop_token& stop_;
  std::set<int> suspects_;
};

void Comparison::suspect(const std::vector<int>& call_ids) {
  for (const int call_id : call_ids) {
    if (suspects_.size() < max_suspects) {
      suspects_.insert(call_id);
    }
  }
}

std::vector<Shown> Comparison::ongoing_among(const std::vector<int>& call_ids) {
  return session_.autocommit([&](auto& each) {
    return shown_in(session_.exec(each, sql::audit::shown_among, postgres::to_array(call_ids)));
  });
}

std::vector<Offender> Comparison::judge_page(const std::vector<Shown>& calls) {
  std::vector<redis::Command> commands;
  for (const Shown& call : calls) {
    commands.push_back({"HGETALL", key_of(call.call_id)});
    commands.push_back({"TTL", key_of(call.call_id)});
  }
  const auto replies = redis_.pipeline(commands);
  std::vector<Offender> offenders;
  for (std::size_t at = 0; at < calls.size(); ++at) {
    if (auto offender = judge(calls[at], replies[2 * at], replies[2 * at + 1])) {
      offenders.push_back(std::move(*offender));
    }
  }
  return offenders;
}

void Comparison::look_at_calls() {
  const std::string before = to_iso8601(as_of_ - to_appear);
  for (int last = 0;;) {
    if (stop_.stop_requested()) {
      throw Stopped("interrupted");
    }
    const auto page = session_.autocommit([&](auto& each) {
      return shown_in(session_.exec(each, sql::audit::shown_page, last, page_calls, before));
    });
    std::vector<int> differing;
    for (const Offender& offender : judge_page(page)) {
      differing.push_back(static_cast<int>(*offender.call_id));
    }
    suspect(differing);
    if (page.size() < page_calls) {
      return;
    }
    last = page.back().call_id;
  }
}

void Comparison::look_at_keys() {
  std::string cursor = "0";
  for (int scans = 0; scans < max_scans; ++scans) {
    if (stop_.stop_requested()) {
      throw Stopped("interrupted");
    }
    const auto reply = redis_.command({"SCAN", cursor, "MATCH", "call:*", "COUNT", scan_keys});
    if (reply.list.size() != 2) {
      throw Unavailable("redis", "SCAN was refused: " + reply.text);
    }
    std::vector<int> strangers;
    for (const auto& key : reply.list[1].list) {
      if (const auto call_id = call_of(key.text)) {
        strangers.push_back(*call_id);
      }
    }
    hashes += static_cast<std::int64_t>(strangers.size());
    if (!strangers.empty()) {
      for (const Shown& ongoing : ongoing_among(strangers)) {
        std::erase(strangers, ongoing.call_id);
      }
      suspect(strangers);
    }
    cursor = reply.list[0].text;
    if (cursor == "0") {
      return;
    }
  }
}

/// Those of the suspects that still differ; the others are none any more.
std::vector<Offender> Comparison::look_again() {
  std::vector<Offender> offenders;
  const std::vector<int> all(suspects_.begin(), suspects_.end());
  for (std::size_t first = 0; first < all.size(); first += page_calls) {
    const auto size = std::min<std::size_t>(page_calls, all.size() - first);
    std::vector<int> gone(all.begin() + static_cast<std::ptrdiff_t>(first),
                          all.begin() + static_cast<std::ptrdiff_t>(first + size));
    const auto ongoing = ongoing_among(gone);
    for (Offender& offender : judge_page(ongoing)) {
      offenders.push_back(std::move(offender));
    }
    for (const Shown& call : ongoing) {
      std::erase(gone, call.call_id);
    }
    std::vector<redis::Command> commands;
    commands.reserve(gone.size());
    for (const int call_id : gone) {
      commands.push_back({"EXISTS", key_of(call_id)});
    }
    const auto replies = redis_.pipeline(commands);
    for (std::size_t at = 0; at < gone.size(); ++at) {
      if (replies[at].integer == 1) {
        offenders.push_back({.kind = "stranger",
                             .call_id = gone[at],
                             .expected = "no hash: the call is not ongoing",
                             .found = key_of(gone[at])});
      }
    }
  }
  suspects_.clear();
  for (const Offender& offender : offenders) {
    suspects_.insert(static_cast<int>(*offender.call_id));
  }
  return offenders;
}

void Comparison::pause(Duration length) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop_, length, [] { return false; });
  if (stop_.stop_requested()) {
    throw Stopped("interrupted");
  }
}

/// PostgreSQL is written first and Redis after it, so that in between they differ:
/// only what differs again and again is wrong.
std::vector<Offender> Comparison::compare(Duration settles_in) {
  look_at_calls();
  look_at_keys();
  std::vector<Offender> offenders;
  for (int look = 1; look < looks && !suspects_.empty(); ++look) {
    pause(settles_in);
    offenders = look_again();
  }
  return offenders;
}

}  // namespace

void check_redis(postgres::Session& session, redis::Client& redis, const Options& options,
                 Gatherer& gatherer, Instant as_of, const std::stop_token& stop) {
  Comparison comparison(session, redis, as_of, stop);
  try {
    auto offenders = comparison.compare(options.redis_settles_in);
    gatherer.looked_at("hashes", comparison.hashes);
    if (offenders.size() >= max_suspects) {
      gatherer.finding(10).notes.push_back(
          fmt::format("more than {} differ; the others were not looked at again", max_suspects));
    }
    for (Offender& offender : offenders) {
      gatherer.add(10, std::move(offender));
    }
  } catch (const Unavailable& error) {
    if (error.server() != "redis") {
      throw;
    }
    Finding& finding = gatherer.finding(10);
    finding.result = Result::not_checked;
    finding.notes.push_back(std::string{"Redis cannot be asked: "} + error.what());
  }
}

}  // namespace saathii::audit

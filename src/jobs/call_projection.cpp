#include "saathii/jobs/call_projection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "call_projection.sql.hpp"
#include "saathii/jobs/status_events.hpp"
#include "saathii/postgres/array.hpp"

namespace saathii::jobs {

namespace {

constexpr std::string_view key_prefix = "call:";
constexpr const char* events_channel = "call_events";
/// The API's own, renewed on every charge.
constexpr const char* ttl_s = "7200";
/// There once Redis has been made whole; gone when Redis has lost its data.
constexpr const char* marker_key = "saathiid:calls_projected_at";
constexpr int page_calls = 5000;
constexpr const char* scan_keys = "1000";
/// A SCAN over ten million keys; beyond it the TTL does the rest.
constexpr int max_scans = 10'000;
/// Raises the coins of the hashes that are there, and tells what each shows then; -1: there
/// is none. Never lowers them, so that what comes in any order, or late over a connection
/// that was given up, shows nothing that PostgreSQL has not committed, and undoes nothing.
constexpr const char* raise_coins = R"(
local shown = {}
for i, key in ipairs(KEYS) do
  local coins = redis.call('HGET', key, 'coins_spent')
  if not coins then
    shown[i] = -1
  else
    coins = tonumber(coins) or -1
    if coins < tonumber(ARGV[i + 1]) then
      coins = tonumber(ARGV[i + 1])
      redis.call('HSET', key, 'coins_spent', ARGV[i + 1])
    end
    redis.call('EXPIRE', key, ARGV[1])
    shown[i] = coins
  end
end
return shown)";
/// Redis does nothing else meanwhile.
constexpr std::size_t max_raised_at_once = 500;
/// A call changes once a minute; where that is not enough the next run repairs.
constexpr int max_verify_rounds = 3;

std::string key_of(int call_id) { return std::string{key_prefix} + std::to_string(call_id); }

std::string text_of(const std::optional<int>& id) { return id ? std::to_string(*id) : ""; }

nlohmann::json json_of(const std::optional<int>& id) {
  return id ? nlohmann::json(*id) : nlohmann::json(nullptr);
}

redis::Command publish(const nlohmann::ordered_json& event) {
  return {"PUBLISH", events_channel,
          event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

redis::Command renew(int call_id) { return {"EXPIRE", key_of(call_id), ttl_s}; }

void add_hash(std::vector<redis::Command>& commands, const billing::Call& call) {
  const auto start_s = std::chrono::floor<std::chrono::seconds>(call.start_time);
  commands.push_back({"HSET", key_of(call.call_id), "user_id", text_of(call.user_id), "listener_id",
                      text_of(call.listener_id), "call_type", call.call_type, "start_time",
                      std::to_string(start_s.time_since_epoch().count()), "coins_spent",
                      std::to_string(call.coins_spent)});
  commands.push_back(renew(call.call_id));
}

redis::Command raise(std::span<const billing::Charged* const> calls) {
  redis::Command command = {"EVAL", raise_coins, std::to_string(calls.size())};
  command.reserve(command.size() + 1 + 2 * calls.size());
  for (const auto* call : calls) {
    command.push_back(key_of(call->call_id));
  }
  command.emplace_back(ttl_s);
  for (const auto* call : calls) {
    command.push_back(std::to_string(call->coins_spent));
  }
  return command;
}

/// The calls of which Redis does not show what it should.
void add_wrong(std::span<const billing::Charged* const> calls, const redis::Reply& shown,
               std::vector<int>& wrong) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (shown.list.size() != calls.size() || shown.list[i].integer != calls[i]->coins_spent) {
      wrong.push_back(calls[i]->call_id);
    }
  }
}

redis::Command warning(const billing::Charged& call, Instant moment) {
  return publish({{"type", "low_balance"},
                  {"call_id", call.call_id},
                  {"user_id", json_of(call.user_id)},
                  {"listener_id", json_of(call.listener_id)},
                  {"balance_coins", call.balance},
                  {"minutes_left", call.minutes_left},
                  {"timestamp", to_isoformat(moment)}});
}

/// True once for each call and balance: when the coming minute becomes the last
/// one affordable, or is found to be beyond it already.
bool is_to_warn(const billing::Charged& call) {
  return call.minutes > 0 && !call.is_short && call.minutes_left <= 1 && call.had_more;
}

std::optional<int> call_of(std::string_view key) {
  int call_id = 0;
  const char* end = key.data() + key.size();
  const auto [stop, error] = std::from_chars(key.data() + key_prefix.size(), end, call_id);
  return error == std::errc{} && stop == end ? std::optional<int>(call_id) : std::nullopt;
}

}  // namespace

CallProjection::~CallProjection() {
  if (is_whole_) {
    return;
  }
  try {
    static_cast<void>(client_.command({"DEL", marker_key}));
  } catch (const std::exception&) {
    // Redis is down: what comes back is repaired in any case.
  }
}

void CallProjection::charged(postgres::Session& session,
                             const std::vector<billing::Charged>& calls) {
  std::vector<const billing::Charged*> shown;
  for (const auto& call : calls) {
    if (call.minutes > 0) {
      shown.push_back(&call);
    }
  }
  std::vector<redis::Command> commands;
  std::vector<std::span<const billing::Charged* const>> raised;
  for (std::span rest{std::as_const(shown)}; !rest.empty();
       rest = rest.subspan(raised.back().size())) {
    raised.push_back(rest.first(std::min(rest.size(), max_raised_at_once)));
    commands.push_back(raise(raised.back()));
  }
  std::int64_t warnings = 0;
  for (const auto* call : shown) {
    if (is_to_warn(*call)) {
      ++warnings;
      commands.push_back(warning(*call, moment_));
    }
  }
  const auto replies = send(commands);
  if (!replies) {
    return;
  }
  {
    const std::scoped_lock lock(mutex_);
    warned_ += warnings;
  }
  // A hash that was not there, or whose sum is another, is written anew.
  std::vector<int> wrong;
  for (std::size_t i = 0; i < raised.size(); ++i) {
    add_wrong(raised[i], (*replies)[i], wrong);
  }
  repaired_if_it_fails([&] { rewrite(session, wrong); });
}

void CallProjection::ended(postgres::Session& session, const std::vector<billing::Ended>& calls) {
  if (calls.empty()) {
    return;
  }
  std::vector<redis::Command> commands;
  std::set<int> parties;
  for (const auto& call : calls) {
    commands.push_back({"DEL", key_of(call.call_id)});
    commands.push_back(publish({{"type", "call_ended"},
                                {"call_id", call.call_id},
                                {"user_id", json_of(call.user_id)},
                                {"listener_id", json_of(call.listener_id)},
                                {"reason", call.reason},
                                {"end_time", to_isoformat(call.end_time)},
                                {"minutes", call.minutes},
                                {"coins_spent", call.coins},
                                {"listener_money_earned", call.earned},
                                {"timestamp", to_isoformat(moment_)}}));
    for (const auto& party : {call.user_id, call.listener_id}) {
      if (party) {
        parties.insert(*party);
      }
    }
  }
  send(commands);
  repaired_if_it_fails([&] {
    send(status_updates(session, std::vector<int>(parties.begin(), parties.end()), moment_));
  });
}

void CallProjection::repair(postgres::Session& session, Duration review_every) {
  const auto outages = session.server().outages();
  const auto instances = session.autocommit([&](auto& each) {
    return session.exec(each, sql::call_projection::living_instances)[0][0]
        .template as<std::string>();
  });
  const bool is_doubtful = outages != memory_.outages_of_postgres || term_ != memory_.term ||
                           instances != memory_.instances;
  if (is_doubtful || !is_marked()) {
    if (write_ongoing(session) && remove_strangers(session) && mark(Marker::set)) {
      repaired_generation_ = client_.generation();
      memory_.outages_of_postgres = outages;
      memory_.term = term_;
      memory_.instances = instances;
    }
  } else if (moment_ < memory_.reviewed_at || moment_ - memory_.reviewed_at >= review_every) {
    // Whoever removed the marker meanwhile wants more than that.
    static_cast<void>(remove_strangers(session) && mark(Marker::renew));
  }
  is_whole_ = true;
  memory_.repaired_generation = repaired_generation_;
}

void CallProjection::doubt() {
  const std::scoped_lock lock(mutex_);
  repaired_generation_.reset();
}

std::int64_t CallProjection::warned() const {
  const std::scoped_lock lock(mutex_);
  return warned_;
}

bool CallProjection::complete() const {
  const std::scoped_lock lock(mutex_);
  return complete_;
}

void CallProjection::needs_repair() {
  complete_ = false;
  repaired_generation_.reset();
}

/// What was committed is never shown again by whoever tries the batch anew.
template <typename Show>
void CallProjection::repaired_if_it_fails(const Show& show) {
  try {
    show();
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    needs_repair();
    throw;
  }
}

std::optional<std::vector<redis::Reply>> CallProjection::send(
    const std::vector<redis::Command>& commands) {
  if (commands.empty()) {
    return std::vector<redis::Reply>{};
  }
  const std::scoped_lock lock(mutex_);
  try {
    return client_.pipeline(commands);
  } catch (const Unavailable&) {
    // The client has told the server's state.
    needs_repair();
    return std::nullopt;
  }
}

void CallProjection::remove_ended(postgres::Session& session, const std::vector<int>& call_ids) {
  if (call_ids.empty()) {
    return;
  }
  const auto gone = session.autocommit([&](auto& each) {
    return session
        .exec(each, sql::call_projection::no_longer_ongoing, postgres::to_array(call_ids))[0][0]
        .template as<std::string>();
  });
  std::vector<redis::Command> commands;
  for (const int call_id : postgres::parse_int_array(gone)) {
    commands.push_back({"DEL", key_of(call_id)});
  }
  send(commands);
}

/// The API deletes a hash after it has committed the end: what PostgreSQL still
/// calls ongoing here will be deleted after our write.
void CallProjection::rewrite(postgres::Session& session, const std::vector<int>& call_ids) {
  if (call_ids.empty()) {
    return;
  }
  const auto ongoing = session.autocommit([&](auto& each) {
    return billing::calls_of(
        session.exec(each, sql::call_projection::ongoing_among, postgres::to_array(call_ids)));
  });
  remove_ended(session, call_ids);
  write(session, ongoing);
}

bool CallProjection::write(postgres::Session& session, std::vector<billing::Call> calls) {
  std::vector<redis::Command> commands;
  for (const auto& call : calls) {
    add_hash(commands, call);
  }
  bool sent = send(commands).has_value();
  // What another program committed and showed before our write came after it, is
  // read again and shown again, until what was shown last is what holds.
  for (int rounds = 0; sent && !calls.empty() && rounds < max_verify_rounds; ++rounds) {
    const auto drifted = session.autocommit([&](auto& each) {
      return session.exec(each, sql::call_projection::drifted,
                          postgres::to_array(calls, &billing::Call::call_id),
                          postgres::to_array(calls, &billing::Call::coins_spent));
    });
    calls.clear();
    commands.clear();
    for (const auto& row : drifted) {
      billing::Call call;
      call.call_id = row[0].as<int>();
      if (row[1].is_null()) {
        commands.push_back({"DEL", key_of(call.call_id)});
      } else {
        call.coins_spent = row[1].as<std::int64_t>();
        commands.push_back({"HSET", key_of(call.call_id), "coins_spent", row[1].c_str()});
        calls.push_back(call);
      }
    }
    sent = send(commands).has_value();
  }
  if (sent && calls.empty()) {
    return true;
  }
  const std::scoped_lock lock(mutex_);
  needs_repair();
  return false;
}

bool CallProjection::write_ongoing(postgres::Session& session) {
  for (int last = 0;;) {
    const auto page = session.autocommit([&](auto& each) {
      return billing::calls_of(
          session.exec(each, sql::call_projection::ongoing_page, last, page_calls));
    });
    if (!write(session, page)) {
      return false;
    }
    if (page.size() < page_calls) {
      return complete();
    }
    last = page.back().call_id;
  }
}

bool CallProjection::remove_strangers(postgres::Session& session) {
  std::string cursor = "0";
  for (int scans = 0; scans < max_scans; ++scans) {
    redis::Reply reply;
    try {
      const std::scoped_lock lock(mutex_);
      reply = client_.command(
          {"SCAN", cursor, "MATCH", std::string{key_prefix} + "*", "COUNT", scan_keys});
    } catch (const Unavailable&) {
      return false;
    }
    if (reply.kind != redis::Reply::Kind::list || reply.list.size() != 2) {
      return false;
    }
    std::vector<int> found;
    for (const auto& key : reply.list[1].list) {
      if (const auto call_id = call_of(key.text)) {
        found.push_back(*call_id);
      }
    }
    remove_ended(session, found);
    cursor = reply.list[0].text;
    if (cursor == "0") {
      break;
    }
  }
  return complete();
}

bool CallProjection::mark(Marker how) {
  redis::Command command = {"SET", marker_key, to_iso8601(moment_)};
  if (how == Marker::renew) {
    command.emplace_back("XX");
  }
  const auto replies = send({command});
  if (!replies || replies->front().kind == redis::Reply::Kind::nil) {
    return false;
  }
  memory_.reviewed_at = moment_;
  return true;
}

bool CallProjection::is_marked() {
  const std::scoped_lock lock(mutex_);
  try {
    const auto reply = client_.command({"EXISTS", marker_key});
    return reply.integer == 1 && repaired_generation_ == client_.generation();
  } catch (const Unavailable&) {
    complete_ = false;
    return true;  // nothing can be repaired now
  }
}

}  // namespace saathii::jobs

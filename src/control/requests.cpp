#include "requests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "saathii/base/counted.hpp"
#include "saathii/config/nearest.hpp"

namespace saathii::control {

namespace {

namespace asio = boost::asio;

/// An answer is made in one piece, and the loop does nothing else meanwhile.
constexpr std::uint32_t max_rows = 1000;
constexpr std::uint32_t max_ticks = 10'000;
constexpr std::uint32_t max_wallet_entries = 1000;
/// A little ahead is another clock, more would charge what has not begun.
constexpr Duration max_ahead = std::chrono::minutes{1};
/// A trigger may have a tick in four years only.
constexpr Duration calendar_horizon = std::chrono::hours{24 * 366 * 20};

/// No name of anything is longer. What is gets no further: to look for the nearest
/// name takes long where a message is as long as the bus allows.
constexpr std::size_t max_name_bytes = 63;

void require_name(const char* argument, const std::string& name) {
  if (name.size() > max_name_bytes) {
    throw Refusal("InvalidArgument", fmt::format("{}: found {} bytes; allowed: at most {}",
                                                 argument, name.size(), max_name_bytes));
  }
}

/// `task` is what begins a coroutine; what it throws is the answer.
template <typename... Results, typename Task>
void spawn(const Office& office, const Answer<Results...>& answer, Task task) {
  asio::co_spawn(office.desk.runner.loop(), std::move(task),
                 [answer](const std::exception_ptr& error) {
                   if (error) {
                     answer.refuse(error);
                   }
                 });
}

void require_between(const char* argument, std::uint64_t value, std::uint64_t least,
                     std::uint64_t most) {
  if (value < least || value > most) {
    throw Refusal("InvalidArgument",
                  fmt::format("{} {}: give a number from {} to {}", argument, value, least, most));
  }
}

void require_outcome(const std::string& outcome) {
  require_name("outcome", outcome);
  std::vector<std::string_view> known(schedule::outcomes.size());
  std::transform(schedule::outcomes.begin(), schedule::outcomes.end(), known.begin(),
                 [](schedule::Outcome each) { return schedule::to_string(each); });
  if (!outcome.empty() && std::find(known.begin(), known.end(), outcome) == known.end()) {
    throw Refusal("InvalidArgument", fmt::format("there is no outcome \"{}\"; {}", outcome,
                                                 config::suggest(outcome, known, "outcomes")));
  }
}

std::string lines_of(const std::vector<config::Problem>& problems) {
  constexpr std::size_t most = 100;
  std::string lines;
  for (std::size_t i = 0; i < std::min(problems.size(), most); ++i) {
    lines += (i == 0 ? "" : "\n") + wire::text(problems[i].to_string());
  }
  if (problems.size() > most) {
    lines += fmt::format("\nand {} more", problems.size() - most);
  }
  return lines;
}

std::vector<std::string> texts(const std::vector<std::string>& any) {
  std::vector<std::string> all;
  all.reserve(any.size());
  for (const std::string& each : any) {
    all.push_back(wire::text(each));
  }
  return all;
}

/// So that the job of which there was nothing may have been another.
void require_known_if_empty(const Desk& desk, const std::string& name, bool empty) {
  if (empty && !name.empty()) {
    (void)desk.runner.job(name);
  }
}

asio::awaitable<void> keep_pauses(const Office& office, std::string done) {
  office.publish();
  std::string why;
  try {
    co_await office.desk.save_pauses();
    co_return;
  } catch (const std::exception& error) {
    why = error.what();
  }
  throw Refusal("Failed", fmt::format("{}, but only until saathiid ends, because that could not "
                                      "be kept for the next start: {}",
                                      done, why));
}

std::vector<std::uint64_t> ticks_after(const schedule::Trigger& trigger, Instant now,
                                       std::size_t count, const std::stop_token& stop) {
  std::vector<std::uint64_t> ticks;
  auto tick = trigger.next_after(now);
  while (tick && ticks.size() < count && *tick < now + calendar_horizon && !stop.stop_requested()) {
    ticks.push_back(wire::moment(tick));
    tick = trigger.next_after(*tick);
  }
  return ticks;
}

}  // namespace

runner::JobView Requests::job(const std::string& name) const {
  require_name("name", name);
  return office_.desk.runner.job(name);
}

/// `then` is called with the answer and the caller's user, when it is known and
/// has room for one more call.
template <typename... Results, typename Then>
void Requests::admit(const Caller& caller, sdbus::Result<Results...>&& result, Then then) {
  calls_.require_room(caller.name);
  const Answer<Results...> answer(calls_, caller.name, std::move(result));
  gate_.identify(caller, [answer, then = std::move(then)](const Gate::Identity& who) {
    try {
      if (!who.uid) {
        throw Refusal("NotAuthorized", who.why_not);
      }
      answer.admit(*who.uid, who.trusted);
      then(answer, *who.uid);
    } catch (...) {
      answer.refuse(std::current_exception());
    }
  });
}

/// `then` is called with the answer and who was allowed, when this object may be
/// gone.
template <typename... Results, typename Then>
void Requests::with_permission(const Caller& caller, const char* verb,
                               sdbus::Result<Results...>&& result, Then then) {
  const std::string action = std::string("com.saathiiapp.tasks1.") + verb;
  admit(caller, std::move(result),
        [&gate = gate_, caller, action, then = std::move(then)](const Answer<Results...>& answer,
                                                                uid_t uid) {
          gate.check(caller, uid, action, [answer, then](const Gate::Verdict& verdict) {
            try {
              if (!verdict.allowed) {
                throw Refusal("NotAuthorized", verdict.why_not);
              }
              then(answer, verdict.by);
            } catch (...) {
              answer.refuse(std::current_exception());
            }
          });
        });
}

void Requests::run(const Caller& caller, sdbus::Result<std::string>&& result,
                   const std::string& name, std::uint64_t at) {
  const auto moment = wire::read_moment(at, "at");
  if (moment && *moment > office_.desk.runner.clock().now() + max_ahead) {
    throw Refusal("InvalidArgument",
                  fmt::format("at {}: a run as if at a moment that is still to come would do what "
                              "is not yet due",
                              to_iso8601(*moment)));
  }
  (void)job(name);
  with_permission(
      caller, "run", std::move(result),
      [&office = office_, name, moment](const Answer<std::string>& answer, const std::string& by) {
        answer.give(office.desk.runner.run_now(name, moment, by));
      });
}

void Requests::pause(const Caller& caller, sdbus::Result<>&& result, const std::string& name) {
  (void)job(name);
  with_permission(caller, "pause", std::move(result),
                  [&office = office_, name](const Answer<>& answer, const std::string& by) {
                    spawn(office, answer, [&office, answer, name, by]() -> asio::awaitable<void> {
                      runner::Runner& runner = office.desk.runner;
                      runner.pause(name, {by, runner.clock().now()});
                      co_await keep_pauses(office, name + " is paused");
                      answer.give();
                    });
                  });
}

void Requests::resume(const Caller& caller, sdbus::Result<>&& result, const std::string& name) {
  (void)job(name);
  with_permission(caller, "pause", std::move(result),
                  [&office = office_, name](const Answer<>& answer, const std::string& by) {
                    spawn(office, answer, [&office, answer, name, by]() -> asio::awaitable<void> {
                      office.desk.runner.resume(name, by);
                      co_await keep_pauses(office, name + " is resumed");
                      answer.give();
                    });
                  });
}

void Requests::reload(
    const Caller& caller,
    sdbus::Result<std::vector<std::string>, std::vector<std::string>, std::uint32_t>&& result) {
  using Reloaded = Answer<std::vector<std::string>, std::vector<std::string>, std::uint32_t>;
  with_permission(caller, "reload", std::move(result),
                  [&office = office_](const Reloaded& answer, const std::string& by) {
                    spawn(office, answer, [&office, answer, by]() -> asio::awaitable<void> {
                      log::info("a reload was asked for", {{"BY", by}});
                      const config::Reloaded done = co_await office.desk.reload();
                      if (!done.problems.empty()) {
                        throw Refusal("ConfigurationInvalid", lines_of(done.problems));
                      }
                      answer.give(texts(done.changes.applied), texts(done.changes.needs_restart),
                                  static_cast<std::uint32_t>(done.changes.unchanged));
                    });
                  });
}

void Requests::set_log_level(const Caller& caller, sdbus::Result<>&& result,
                             const std::string& level) {
  require_name("level", level);
  log::Level parsed = log::Level::info;
  if (!log::parse_level(level, parsed)) {
    throw Refusal("InvalidArgument",
                  fmt::format("there is no log level \"{}\"; allowed: trace, debug, info, warning, "
                              "error",
                              level));
  }
  with_permission(
      caller, "reload", std::move(result),
      [&office = office_, level, parsed](const Answer<>& answer, const std::string& by) {
        office.desk.set_log_level(parsed);
        log::write_unfolded(log::Level::warning, "the log's level is now " + level, {{"BY", by}});
        office.publish();
        answer.give();
      });
}

void Requests::history(const Caller& caller, sdbus::Result<std::vector<wire::HistoryRow>>&& result,
                       const std::string& name, std::uint64_t since, std::uint64_t until,
                       const std::string& outcome, std::uint32_t limit) {
  require_name("name", name);
  require_outcome(outcome);
  require_between("limit", limit, 1, max_rows);
  const postgres::HistoryQuery query{.job = office_.desk.runner.name_in_ledger(name),
                                     .since = wire::read_moment(since, "since"),
                                     .outcome = outcome,
                                     .limit = limit,
                                     .until = wire::read_moment(until, "until")};
  using Given = Answer<std::vector<wire::HistoryRow>>;
  admit(caller, std::move(result),
        [&office = office_, query, name](const Given& answer, uid_t /*uid*/) {
          spawn(office, answer,
                [&desk = office.desk, answer, query, name]() -> asio::awaitable<void> {
                  const auto ask = [&](const std::stop_token& stop) {
                    // On the worker what goes over the bus is made, too: it may be much.
                    return wire::history(desk.inquiries.history(query, stop));
                  };
                  const auto rows = co_await desk.worker.run(ask);
                  require_known_if_empty(desk, name, rows.empty());
                  answer.give(rows);
                });
        });
}

void Requests::calendar(const Caller& caller,
                        sdbus::Result<std::vector<std::uint64_t>, std::string>&& result,
                        const std::string& name, std::uint32_t count) {
  require_between("count", count, 1, max_ticks);
  const std::string zone{job(name).zone->name()};
  const schedule::Trigger trigger = office_.desk.runner.trigger(name);
  using Given = Answer<std::vector<std::uint64_t>, std::string>;
  admit(caller, std::move(result),
        [&office = office_, trigger, count, zone](const Given& answer, uid_t /*uid*/) {
          spawn(office, answer,
                [&desk = office.desk, answer, trigger, count, zone]() -> asio::awaitable<void> {
                  const Instant now = desk.runner.clock().now();
                  const auto look = [&](const std::stop_token& stop) {
                    return ticks_after(trigger, now, count, stop);
                  };
                  const auto ticks = co_await desk.worker.run(look);
                  answer.give(ticks, zone);
                });
        });
}

void Requests::receipt(const Caller& caller,
                       sdbus::Result<wire::Details, std::vector<wire::Minute>>&& result,
                       std::uint64_t call_id) {
  require_between("call_id", call_id, 1, INT32_MAX);
  using Given = Answer<wire::Details, std::vector<wire::Minute>>;
  with_permission(
      caller, "inspect", std::move(result),
      [&office = office_, call_id](const Given& answer, const std::string& /*by*/) {
        spawn(office, answer, [&desk = office.desk, answer, call_id]() -> asio::awaitable<void> {
          const auto ask = [&](const std::stop_token& stop) {
            return desk.inquiries.receipt(static_cast<std::int64_t>(call_id), stop);
          };
          const auto receipt = co_await desk.worker.run(ask);
          if (!receipt) {
            throw Refusal("NotFound", fmt::format("there is no call {}", call_id));
          }
          answer.give(wire::receipt(*receipt), wire::minutes(receipt->minutes));
        });
      });
}

void Requests::wallet(const Caller& caller,
                      sdbus::Result<std::int64_t, std::string, std::vector<std::int64_t>,
                                    std::vector<wire::WalletEntry>>&& result,
                      std::uint64_t user_id, std::uint32_t limit) {
  require_between("user_id", user_id, 1, INT32_MAX);
  require_between("limit", limit, 0, max_wallet_entries);
  using Given =
      Answer<std::int64_t, std::string, std::vector<std::int64_t>, std::vector<wire::WalletEntry>>;
  with_permission(
      caller, "inspect", std::move(result),
      [&office = office_, user_id, limit](const Given& answer, const std::string& /*by*/) {
        spawn(office, answer,
              [&desk = office.desk, answer, user_id, limit]() -> asio::awaitable<void> {
                const auto ask = [&](const std::stop_token& stop) {
                  return desk.inquiries.wallet(static_cast<std::int64_t>(user_id), limit, stop);
                };
                const auto wallet = co_await desk.worker.run(ask);
                if (!wallet) {
                  throw Refusal("NotFound", fmt::format("user {} has no wallet", user_id));
                }
                answer.give(wallet->balance_coins, wire::text(wallet->withdrawable_money),
                            wallet->ongoing_calls, wire::entries(wallet->entries));
              });
      });
}

}  // namespace saathii::control

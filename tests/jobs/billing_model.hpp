#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

// The contract's charging and ending as one sequential program, minute by
// minute: what coin_deduction and call_cleanup are compared with. It shares
// nothing with them; coins are integers, rupees are paise.

namespace saathii::test::model {

struct User {
  std::optional<std::int64_t> coins;  ///< of the wallet; nothing: none, or NULL
  bool has_wallet = false;
  bool has_status = false;
  std::optional<Instant> last_seen;
  bool is_busy = false;
  std::optional<int> wait_time;
  std::int64_t paise = 0;
  std::multiset<std::string> transactions;  ///< "spend -10 0"
};

struct Minute {
  std::int64_t coins;
  std::string source;
  bool refunded = false;
};

struct Settlement {
  std::string reason;
  int minutes = 0;
  std::int64_t coins = 0;
  std::int64_t paise = 0;
};

struct Call {
  int id = 0;
  int caller = 0;  ///< 0: nobody
  int listener = 0;
  std::string type;  ///< "": NULL
  Instant start;
  std::int64_t coins_spent = 0;
  std::string status = "ongoing";
  std::optional<Instant> end;
  std::map<int, Minute> ledger;
  std::optional<Settlement> settlement;
  bool charged_now = false;  ///< by the latest run
  Duration increment = std::chrono::minutes{1};

  [[nodiscard]] bool is_ongoing() const { return status == "ongoing"; }
  [[nodiscard]] Instant minute_start(int minute) const { return start + (minute - 1) * increment; }
  /// How many minutes have started at the moment; 0 or less before the start.
  [[nodiscard]] int started(Instant moment) const {
    const auto lasted = moment - start;
    auto whole = lasted / increment;
    if (lasted < whole * increment) --whole;
    return static_cast<int>(whole) + 1;
  }
};

struct Badge {
  std::int64_t audio_paise;
  std::int64_t video_paise;
};

struct Limits {
  Duration stale_after = std::chrono::minutes{10};
  Duration grace = std::chrono::minutes{2};
  int catch_up = 0;
  std::size_t page = 500;
};

class Platform {
 public:
  std::map<int, User> users;
  std::map<int, Call> calls;
  std::map<std::pair<int, std::string>, Badge> badges;  ///< by listener and local day
  std::map<std::string, std::int64_t> configured = {{"audio", 10}, {"video", 60}};
  TimeZone zone = nullptr;
  bool earns_coins = false;
  Duration increment = std::chrono::minutes{1};  ///< configured

  void deduct(Instant moment, const Limits& limits) {
    begin_run(moment);
    std::map<int, std::vector<Due>> payers;
    for (auto& [id, call] : calls) {
      if (call.is_ongoing() && !call.type.empty() && !is_stale(call, moment, limits) &&
          paid(call) < call.started(moment)) {
        write_down_api(call, paid(call));
        add_dues(payers, call, moment, limits);
      }
    }
    for (auto& [payer, dues] : payers) {
      pay(dues, [&](Call& call) { settle(call, moment, "balance"); });
    }
  }

  void clean(Instant moment, const Limits& limits) {
    begin_run(moment);
    for (int last = 0;;) {
      std::vector<std::pair<Call*, Doom>> page;
      for (auto& [id, call] : calls) {
        const auto doom = doom_of(call, moment, limits);
        if (id > last && doom && page.size() < limits.page) page.emplace_back(&call, *doom);
      }
      end_page(page, moment, limits);
      if (page.size() < limits.page) return;
      last = page.back().first->id;
    }
  }

  /// What wait_time should be for a party of this one call.
  [[nodiscard]] std::int64_t expected_minutes(const Call& call, Instant moment) const {
    return paid(call) + balance(call.caller) / rate(call.type, moment);
  }

  [[nodiscard]] std::vector<const Call*> ongoing_of(int user) const {
    std::vector<const Call*> found;
    for (const auto& [id, call] : calls) {
      if (call.is_ongoing() && (call.caller == user || call.listener == user)) {
        found.push_back(&call);
      }
    }
    return found;
  }

  [[nodiscard]] int paid(const Call& call) const {
    if (!call.ledger.empty()) return call.ledger.rbegin()->first;
    if (call.coins_spent <= 0) return 0;
    return std::max(1, static_cast<int>(call.coins_spent / rate(call.type, call.start)));
  }

  void move(int user, const std::string& type, std::int64_t coins, std::int64_t paise = 0) {
    User& who = users.at(user);
    who.has_wallet = true;
    who.coins = who.coins.value_or(0) + coins;
    who.paise += paise;
    who.transactions.insert(type + ' ' + std::to_string(coins) + ' ' + std::to_string(paise));
  }

  /// The local date: "2026-03-29".
  [[nodiscard]] std::string day(Instant moment) const {
    const auto midnight = std::chrono::floor<std::chrono::days>(zone->to_local(moment));
    return to_iso8601(Instant{midnight.time_since_epoch()}).substr(0, 10);
  }

 private:
  struct Due {
    Instant start;
    Call* call;
    int minute;
    std::int64_t coins;
    bool waived;
  };
  struct Doom {
    Instant end;
    std::string reason;
  };

  void begin_run(Instant moment) {
    if (increments_.empty()) {
      increments_.emplace_back(Instant::min(), increment);
    } else if (increments_.back().second != increment) {
      increments_.emplace_back(std::max(moment, increments_.back().first + Duration{1}), increment);
    }
    for (auto& [id, call] : calls) {
      call.charged_now = false;
      for (const auto& [from, known] : increments_) {
        if (from <= call.start) call.increment = known;
      }
    }
    for (const auto& [type, coins] : configured) {
      auto& known = rates_[type];
      if (known.empty()) {
        known.emplace_back(Instant::min(), coins);
      } else if (known.back().second != coins) {
        known.emplace_back(std::max(moment, known.back().first + Duration{1}), coins);
      }
    }
  }

  [[nodiscard]] std::int64_t rate(const std::string& type, Instant moment) const {
    std::int64_t coins = 0;
    for (const auto& [from, known] : rates_.at(type)) {
      if (from <= moment) coins = known;
    }
    return coins;
  }

  [[nodiscard]] std::int64_t balance(int user) const {
    const auto found = users.find(user);
    return found == users.end() ? 0 : found->second.coins.value_or(0);
  }

  [[nodiscard]] Instant last_seen(const Call& call) const {
    Instant seen = call.start;
    for (const int party : {call.caller, call.listener}) {
      const auto found = users.find(party);
      if (found != users.end() && found->second.has_status) {
        seen = std::max(seen, found->second.last_seen.value_or(seen));
      }
    }
    return seen;
  }

  [[nodiscard]] bool is_stale(const Call& call, Instant moment, const Limits& limits) const {
    return last_seen(call) < moment - limits.stale_after;
  }

  /// Minutes that the API took, 1 to `minutes`, if the ledger does not know the call.
  void write_down_api(Call& call, int minutes) {
    if (!call.ledger.empty() || call.coins_spent <= 0) return;
    const std::int64_t coins = call.type.empty() ? 0 : rate(call.type, call.start);
    for (int minute = minutes; minute > 1; --minute) call.ledger[minute] = {coins, "api"};
    call.ledger[1] = {call.coins_spent - (minutes - 1) * coins, "api"};
  }

  void add_dues(std::map<int, std::vector<Due>>& payers, Call& call, Instant upto,
                const Limits& limits) const {
    const int started = call.started(upto);
    for (int minute = paid(call) + 1; minute <= started; ++minute) {
      const bool waived = limits.catch_up > 0 && minute <= started - limits.catch_up;
      const Instant at = call.minute_start(minute);
      payers[call.caller == 0 ? -call.id : call.caller].push_back(
          {at, &call, minute, waived ? 0 : rate(call.type, at), waived});
    }
  }

  /// Takes the minutes in order; `fail` is called for a call whose minute is not
  /// covered, none of whose later minutes is taken.
  template <typename Fail>
  void pay(std::vector<Due>& dues, Fail fail) {
    std::sort(dues.begin(), dues.end(), [](const Due& left, const Due& right) {
      return std::pair(left.start, left.call->id) < std::pair(right.start, right.call->id);
    });
    std::set<int> failed;
    for (const Due& due : dues) {
      if (failed.contains(due.call->id)) continue;
      if (due.coins > balance(due.call->caller)) {
        failed.insert(due.call->id);
        fail(*due.call);
        continue;
      }
      if (due.coins > 0) move(due.call->caller, "spend", -due.coins);
      due.call->coins_spent += due.coins;
      due.call->ledger[due.minute] = {due.coins, due.waived ? "waived" : "saathiid"};
      due.call->charged_now = true;
    }
  }

  [[nodiscard]] std::optional<Doom> doom_of(const Call& call, Instant moment,
                                            const Limits& limits) const {
    if (!call.is_ongoing()) return {};
    if (is_stale(call, moment, limits)) return Doom{last_seen(call), "not_seen"};
    const auto caller = users.find(call.caller);
    if (caller == users.end() || !caller->second.wait_time) return {};
    const int wait_time = *caller->second.wait_time;
    const Instant end = std::max(moment, call.start);
    if (wait_time <= 0) return Doom{end, "no_wait_time"};
    const auto is_over = [&](std::int64_t minutes) {
      return call.start + minutes * call.increment < moment - limits.grace;
    };
    if (!call.type.empty() && is_over(wait_time) && is_over(expected_minutes(call, moment))) {
      return Doom{end, "overdue"};
    }
    return {};
  }

  void end_page(const std::vector<std::pair<Call*, Doom>>& page, Instant moment,
                const Limits& limits) {
    for (const auto& [call, doom] : page) {
      const int most = std::max(1, call->started(moment));
      if (call->ledger.empty()) {
        write_down_api(*call, call->type.empty() ? 1 : std::min(paid(*call), most));
      }
      give_back(*call, doom.end);
    }
    std::map<int, std::vector<Due>> payers;
    for (const auto& [call, doom] : page) {
      if (!call->type.empty()) add_dues(payers, *call, doom.end, limits);
    }
    for (auto& [payer, dues] : payers) pay(dues, [](const Call&) {});
    for (const auto& [call, doom] : page) settle(*call, doom.end, doom.reason);
  }

  void give_back(Call& call, Instant end) {
    for (auto& [number, minute] : call.ledger) {
      if (call.minute_start(number) <= end || minute.refunded) continue;
      minute.refunded = true;
      call.coins_spent -= minute.coins;
      if (minute.coins > 0 && users.contains(call.caller) && users[call.caller].has_wallet) {
        move(call.caller, "spend", minute.coins);
      }
    }
  }

  void settle(Call& call, Instant end, const std::string& reason) {
    Settlement result{reason};
    for (const auto& [number, minute] : call.ledger) {
      if (minute.refunded || minute.source == "waived") continue;
      ++result.minutes;
      result.coins += minute.coins;
      const auto badge = badges.find({call.listener, day(call.minute_start(number))});
      const Badge earns = badge == badges.end() ? Badge{100, 600} : badge->second;
      result.paise += call.type == "video" ? earns.video_paise : earns.audio_paise;
    }
    if (users.contains(call.listener)) {
      if (earns_coins && result.paise >= 100) move(call.listener, "earn", result.paise / 100);
      if (!earns_coins && result.paise > 0) move(call.listener, "earn", 0, result.paise);
    }
    call.status = "dropped";
    call.end = end;
    call.settlement = result;
    for (const int party : {call.caller, call.listener}) {
      if (users.contains(party) && ongoing_of(party).empty()) {
        users[party].is_busy = false;
        users[party].wait_time.reset();
      }
    }
  }

  std::map<std::string, std::vector<std::pair<Instant, std::int64_t>>> rates_;
  std::vector<std::pair<Instant, Duration>> increments_;
};

}  // namespace saathii::test::model

#include "billing_world.hpp"

#include <limits>

namespace saathii::test {

namespace {

template <typename Items>
std::string joined(const Items& items, std::string_view comma) {
  std::string text;
  for (const auto& item : items) {
    text += text.empty() ? "" : comma;
    text += item;
  }
  return text;
}

std::string ledger_text(const model::Call& call) {
  std::vector<std::string> minutes;
  for (const auto& [number, minute] : call.ledger) {
    minutes.push_back(
        fmt::format("{}:{}:{}{}", number, minute.coins, minute.source, minute.refunded ? "!" : ""));
  }
  return joined(minutes, " ");
}

/// What the end left behind; only saathiid's own end.
std::string ending_text(const model::Call& call) {
  if (!call.settlement) return "";
  const auto& result = *call.settlement;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(*call.end - call.start).count();
  return fmt::format("{} us {} s {} min, {}: {} minutes {} coins {} paise, {} rupees",
                     call.end->time_since_epoch().count(), seconds,
                     std::max<std::int64_t>(1, seconds / 60), result.reason, result.minutes,
                     result.coins, result.paise, result.paise / 100);
}

constexpr const char* calls_sql = R"(
SELECT format('call %s: %s %s [%s] %s', c.call_id, c.status, coalesce(c.coins_spent, 0),
              (SELECT string_agg(minute || ':' || coins || ':' || source
                                 || CASE WHEN refunded_at IS NULL THEN '' ELSE '!' END, ' '
                                 ORDER BY minute)
                 FROM saathii_tasks.call_charge l WHERE l.call_id = c.call_id),
              (SELECT format('%s us %s s %s min, %s: %s minutes %s coins %s paise, %s rupees',
                             (extract(epoch FROM c.end_time) * 1000000)::bigint,
                             c.duration_seconds, c.duration_minutes, s.reason, s.minutes, s.coins,
                             (s.earned * 100)::bigint, c.listener_money_earned)
                 FROM saathii_tasks.call_settlement s
                WHERE s.call_id = c.call_id AND s.end_time = c.end_time))
  FROM user_calls c ORDER BY c.call_id)";

constexpr const char* users_sql = R"(
SELECT format('user %s: %s coins %s paise %s [%s]', u.user_id, coalesce(w.balance_coins, 0),
              (coalesce(w.withdrawable_money, 0) * 100)::bigint,
              CASE WHEN s.is_busy THEN 'busy' ELSE 'free' END,
              (SELECT string_agg(line, ', ' ORDER BY line COLLATE "C")
                 FROM (SELECT format('%s %s %s', tx_type, coins_change, (money_change * 100)::bigint)
                         FROM user_transactions t WHERE t.wallet_id = w.wallet_id) AS t (line)))
  FROM users u
  LEFT JOIN user_wallets w USING (user_id)
  LEFT JOIN user_status s USING (user_id)
 ORDER BY u.user_id)";

/// Section 6, by number; 9 depends on what the history began with and is the
/// model's, 10 is Redis'.
constexpr const char* invariants_sql = R"(
SELECT '2: gaps in call ' || call_id FROM saathii_tasks.call_charge
 GROUP BY call_id HAVING max(minute) <> count(*)
UNION ALL
SELECT '2: wrong start in call ' || call_id FROM saathii_tasks.call_charge JOIN user_calls
 USING (call_id) WHERE minute_start <> start_time + (minute - 1) * interval '1 minute'
UNION ALL
SELECT '4: coins_spent of call ' || call_id
  FROM user_calls c
  LEFT JOIN (SELECT call_id, sum(coins) FILTER (WHERE refunded_at IS NULL) AS coins
               FROM saathii_tasks.call_charge GROUP BY call_id) l USING (call_id)
 WHERE coalesce(c.coins_spent, 0) <> coalesce(l.coins, 0)
   AND (l.call_id IS NOT NULL OR c.status = 'dropped')
UNION ALL
SELECT '5: wallet of user ' || user_id FROM user_wallets WHERE balance_coins < 0
UNION ALL
SELECT '6: call ' || call_id || ' minute ' || minute
  FROM saathii_tasks.call_charge JOIN user_calls USING (call_id)
 WHERE status = 'dropped' AND minute_start > end_time AND refunded_at IS NULL
UNION ALL
SELECT '8: settlement of call ' || c.call_id
  FROM user_calls c LEFT JOIN saathii_tasks.call_settlement s USING (call_id)
 WHERE (c.status = 'dropped') <> (s.call_id IS NOT NULL))";

}  // namespace

void World::run(const std::string& kind_name, Instant moment, const model::Limits& limits) {
  for (const auto& kind : jobs::kinds()) {
    if (kind.info.name != kind_name) continue;
    config::Settings settings(kind.info.settings);
    settings.set("stale_after", limits.stale_after);
    settings.set("charge_catch_up_limit", std::int64_t{limits.catch_up});
    settings.set("batch_size", static_cast<std::int64_t>(limits.page));
    if (kind_name == "call_cleanup") settings.set("grace", limits.grace);
    kind.make()->run({moment, settings, stage_.platform, *stage_.pool, *stage_.redis, {}});
    return;
  }
  throw std::logic_error("no job kind " + kind_name);
}

/// Which runs write wait_time where nothing was charged is theirs to choose, so
/// that the model takes over what is right, and tells what is not.
void World::take_wait_times(const std::map<int, model::User>& before,
                            const std::map<int, std::size_t>& ongoing_before, Instant moment,
                            bool may_set) {
  for (const auto& row : stage_.db.exec("SELECT user_id, wait_time FROM user_status")) {
    const int id = row[0].as<int>();
    auto& user = model_.users.at(id);
    const auto found = row[1].is_null() ? std::nullopt : std::optional<int>(row[1].as<int>());
    const auto ongoing = model_.ongoing_of(id);
    std::vector<std::optional<int>> allowed = {ongoing.empty() ? user.wait_time
                                                               : before.at(id).wait_time};
    for (const auto* call : ongoing) {
      if (!may_set || call->type.empty()) continue;
      const auto minutes = std::min<std::int64_t>(model_.expected_minutes(*call, moment),
                                                  std::numeric_limits<int>::max());
      if (ongoing_before.at(id) == 1 && call->charged_now) allowed.clear();
      allowed.emplace_back(static_cast<int>(minutes));
    }
    if (std::find(allowed.begin(), allowed.end(), found) == allowed.end()) {
      wrong_waits_ += fmt::format("user {}: wait_time {} is not {}\n", id,
                                  found ? std::to_string(*found) : "NULL",
                                  allowed.back() ? std::to_string(*allowed.back()) : "NULL");
    }
    user.wait_time = found;
  }
}

std::map<int, std::size_t> World::count_ongoing() const {
  std::map<int, std::size_t> counts;
  for (const auto& [id, user] : model_.users) counts[id] = model_.ongoing_of(id).size();
  return counts;
}

void World::deduct(Instant moment, const model::Limits& limits) {
  const auto users = model_.users;
  const auto ongoing = count_ongoing();
  model_.deduct(moment, limits);
  run("coin_deduction", moment, limits);
  take_wait_times(users, ongoing, moment, true);
}

void World::clean(Instant moment, const model::Limits& limits) {
  const auto users = model_.users;
  const auto ongoing = count_ongoing();
  model_.clean(moment, limits);
  run("call_cleanup", moment, limits);
  take_wait_times(users, ongoing, moment, false);
}

std::string World::differences() {
  std::string found = wrong_waits_;
  std::istringstream model(model_text());
  std::istringstream database(stage_.db.rows(std::string{calls_sql}) + ";" +
                              stage_.db.rows(std::string{users_sql}) + ";");
  for (std::string ours, theirs; std::getline(model, ours);) {
    std::getline(database, theirs, ';');
    if (ours != theirs) found += "model:    " + ours + "\ndatabase: " + theirs + "\n";
  }
  return found + stage_.db.rows(invariants_sql) + wrong_sums();
}

std::string World::model_text() const {
  std::string text;
  for (const auto& [id, call] : model_.calls) {
    text += fmt::format("call {}: {} {} [{}] {}\n", id, call.status, call.coins_spent,
                        ledger_text(call), ending_text(call));
  }
  if (model_.calls.empty()) text += '\n';
  for (const auto& [id, user] : model_.users) {
    text +=
        fmt::format("user {}: {} coins {} paise {} [{}]\n", id, user.coins.value_or(0), user.paise,
                    user.is_busy ? "busy" : "free", joined(user.transactions, ", "));
  }
  return text;
}

/// Invariant 3, for every wallet.
std::string World::wrong_sums() {
  std::string found;
  for (const auto& row : stage_.db.exec(
           "SELECT user_id, coalesce(balance_coins, 0) - coalesce(sum(coins_change), 0), "
           "coalesce(withdrawable_money, 0) - coalesce(sum(money_change), 0) FROM user_wallets "
           "LEFT JOIN user_transactions USING (wallet_id) GROUP BY wallet_id")) {
    if (row[1].as<std::int64_t>() != openings_.at(row[0].as<int>()) || row[2].as<double>() != 0) {
      found += fmt::format("3: wallet of user {}\n", row[0].as<int>());
    }
  }
  return found;
}

}  // namespace saathii::test

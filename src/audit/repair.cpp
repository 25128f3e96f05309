#include <algorithm>
#include <array>

#include "repair.sql.hpp"
#include "saathii/audit/audit.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::audit {

namespace {

constexpr std::size_t max_repairs = 1000;

/// Why a kind of violation is left to people.
struct Reason {
  int invariant;
  std::string_view kind;
  const char* why;
};
constexpr Reason reasons[] = {
    {1, "no_unique_key", "the owner of the schema has to make the index again: see saathiid(8)"},
    {1, "charged_twice", "which of the charges moved coins, only the transactions can tell"},
    {2, "behind", "saathiid charges started minutes itself: is coin_deduction running?"},
    {2, "", "the ledger of charges was written by somebody else"},
    {3, "sum", "whether the wallet or its transactions are right, the tables do not tell"},
    {3, "charge_without_spend", "nothing proves that the wallet was charged"},
    {3, "refund_missing", "nothing proves that the wallet got its coins back"},
    {4, "coins_spent", "whether the call or the ledger is right, the tables do not tell"},
    {5, "", "coins that somebody lacks cannot be made"},
    {7, "", "a call that was ended cannot be taken up again"},
    {8, "credit_missing", "which settlement was not credited, the transactions do not tell"},
    {8, "nothing_earned", "the API ended it, and pays for what it ends"},
    {8, "", "what was settled cannot be taken back by a row"},
    {9, "busy_without_call", "presence_cleanup clears it: saathiictl run presence_cleanup"},
    {9, "", "the flag is the API's, and clears when the call ends"},
    {10, "", "coin_deduction shows all calls again once Redis was emptied or reconnected"},
};

const char* why_left(int invariant, std::string_view kind) {
  const auto* const reason = std::ranges::find_if(reasons, [&](const Reason& each) {
    return each.invariant == invariant && (each.kind == kind || each.kind.empty());
  });
  return reason == std::end(reasons) ? "no row is known that would make it good" : reason->why;
}

/// Ids of the listed offenders of a kind.
std::vector<std::int64_t> ids_of(const Report& report, int invariant, std::string_view kind,
                                 std::optional<std::int64_t> Offender::*id) {
  std::vector<std::int64_t> ids;
  for (const Offender& offender :
       report.findings.at(static_cast<std::size_t>(invariant) - 1).offenders) {
    if (offender.kind == kind && offender.*id) {
      ids.push_back(*(offender.*id));
    }
  }
  return ids;
}

/// Report::since for the statements.
std::string counted_since(const std::optional<Instant>& since) {
  return since ? to_iso8601(*since) : "infinity";
}

class Planner {
 public:
  Planner(postgres::Session& session, pqxx::transaction_base& transaction, const Terms& terms,
          const Report& report)
      : session_(session), transaction_(transaction), terms_(terms), report_(report) {}

  Plan plan() {
    plan_refunds();
    plan_spends();
    plan_settlements();
    leave_the_rest();
    if (plan_.repairs.size() > max_repairs) {
      plan_.repairs.resize(max_repairs);
      plan_.is_complete = false;
    }
    return std::move(plan_);
  }

 private:
  void plan_refunds();
  void plan_spends();
  void plan_settlements();
  void leave_the_rest();
  void leave(int invariant, const std::string& kind, std::int64_t count, const char* why);

  postgres::Session& session_;
  pqxx::transaction_base& transaction_;
  const Terms& terms_;
  const Report& report_;
  Plan plan_;
};

void Planner::leave(int invariant, const std::string& kind, std::int64_t count, const char* why) {
  if (count > 0) {
    plan_.left.push_back({.invariant = invariant, .kind = kind, .count = count, .why = why});
  }
}

void Planner::plan_refunds() {
  const auto calls = ids_of(report_, 6, "after_end", &Offender::call_id);
  std::int64_t without_wallet = 0;
  std::int64_t paid_out = 0;
  for (const auto& row : session_.exec(transaction_, sql::repair::late_minutes,
                                       postgres::to_array(calls), max_repairs + 1)) {
    if (row[4].is_null()) {
      ++without_wallet;
    } else if (row[5].as<bool>()) {
      ++paid_out;
    } else {
      plan_.repairs.push_back({.what = Repair::What::give_back,
                               .invariant = 6,
                               .call_id = row[0].as<std::int64_t>(),
                               .user_id = row[2].as<std::int64_t>(),
                               .minute = row[1].as<std::int64_t>(),
                               .coins = row[3].as<std::int64_t>(),
                               .money = {}});
    }
  }
  leave(6, "after_end", without_wallet, "the caller has no wallet to give the coins back to");
  leave(6, "after_end", paid_out, "the listener was paid for the minute when the call was settled");
}

void Planner::plan_spends() {
  const auto users = ids_of(report_, 3, "spend_missing", &Offender::user_id);
  for (const auto& row : session_.exec(transaction_, sql::repair::missing_spends,
                                       postgres::to_array(users), counted_since(report_.since))) {
    plan_.repairs.push_back({.what = Repair::What::add_spend,
                             .invariant = 3,
                             .call_id = 0,
                             .user_id = row[0].as<std::int64_t>(),
                             .minute = 0,
                             .coins = row[2].as<std::int64_t>(),
                             .money = {},
                             .since = report_.since});
  }
}

pqxx::result missing_settlements(postgres::Session& session, pqxx::transaction_base& transaction,
                                 const Terms& terms, const std::vector<std::int64_t>& calls) {
  return session.exec(transaction, sql::repair::missing_settlements, postgres::to_array(calls),
                      terms.timezone, terms.basic_audio, terms.basic_video);
}

void Planner::plan_settlements() {
  const auto calls = ids_of(report_, 8, "unsettled", &Offender::call_id);
  std::int64_t without_wallet = 0;
  std::int64_t may_be_paid = 0;
  for (const auto& row : missing_settlements(session_, transaction_, terms_, calls)) {
    if (row[3].is_null()) {
      ++without_wallet;
    } else if (row[7].as<bool>()) {
      ++may_be_paid;
    } else {
      plan_.repairs.push_back({.what = Repair::What::settle,
                               .invariant = 8,
                               .call_id = row[0].as<std::int64_t>(),
                               .user_id = row[2].as<std::int64_t>(),
                               .minute = row[4].as<std::int64_t>(),
                               .coins = row[5].as<std::int64_t>(),
                               .money = row[6].c_str()});
    }
  }
  leave(8, "unsettled", without_wallet, "the listener has no wallet to be paid into");
  leave(8, "unsettled", may_be_paid,
        "the listener was paid something at that time, maybe for this call");
}

void Planner::leave_the_rest() {
  constexpr std::string_view repairable[] = {"after_end", "spend_missing", "unsettled"};
  // Who was charged without a transaction is off by it, too: one repair mends both.
  const auto spends = std::ranges::count(plan_.repairs, Repair::What::add_spend, &Repair::what);
  for (const Finding& finding : report_.findings) {
    for (const auto& [kind, count] : finding.kinds) {
      if (kind == "ended_by_both") {
        continue;
      }
      if (std::ranges::find(repairable, kind) != std::end(repairable)) {
        const auto listed = std::ranges::count(finding.offenders, kind, &Offender::kind);
        plan_.is_complete = plan_.is_complete && listed == count;
        continue;
      }
      const bool goes_with_spends = finding.number == 3 && kind == "sum";
      leave(finding.number, kind, count - (goes_with_spends ? spends : 0),
            why_left(finding.number, kind));
    }
  }
}

bool is_one(const pqxx::result& rows) { return rows[0][0].as<std::int64_t>() == 1; }

bool give_back(postgres::Session& session, pqxx::transaction_base& transaction,
               const Repair& repair) {
  session.exec(transaction, sql::repair::lock_call, repair.call_id);
  session.exec(transaction, sql::repair::lock_wallet, repair.user_id);
  return is_one(session.exec(transaction, sql::repair::give_back, repair.call_id, repair.minute,
                             repair.user_id, repair.coins));
}

bool add_spend(postgres::Session& session, pqxx::transaction_base& transaction,
               const Repair& repair) {
  session.exec(transaction, sql::repair::lock_wallet, repair.user_id);
  const auto rows =
      session.exec(transaction, sql::repair::missing_spends,
                   postgres::to_array(std::array{repair.user_id}), counted_since(repair.since));
  if (rows.empty() || rows[0][2].as<std::int64_t>() != repair.coins) {
    return false;
  }
  session.exec(transaction, sql::repair::add_spend, rows[0][1].as<std::int64_t>(), repair.coins);
  return true;
}

bool settle(postgres::Session& session, pqxx::transaction_base& transaction, const Terms& terms,
            const Repair& repair) {
  session.exec(transaction, sql::repair::lock_call, repair.call_id);
  session.exec(transaction, sql::repair::lock_wallet, repair.user_id);
  const auto rows = missing_settlements(session, transaction, terms, {repair.call_id});
  if (rows.empty() || rows[0][7].as<bool>() || rows[0][2].as<std::int64_t>() != repair.user_id ||
      rows[0][4].as<std::int64_t>() != repair.minute ||
      rows[0][5].as<std::int64_t>() != repair.coins || rows[0][6].c_str() != repair.money) {
    return false;
  }
  return is_one(session.exec(transaction, sql::repair::settle, repair.call_id, repair.minute,
                             repair.coins, repair.money, terms.earns_coins));
}

/// Sums over all transactions take longer than a statement of a job may.
constexpr const char* take_time = "SET LOCAL statement_timeout = '2h'";

}  // namespace

Plan plan(postgres::Session& session, const Terms& terms, const Report& report) {
  return session.transact([&](auto& transaction) {
    transaction.exec("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    transaction.exec(take_time);
    return Planner(session, transaction, terms, report).plan();
  });
}

bool apply(postgres::Session& session, const Terms& terms, const Repair& repair) {
  return session.transact([&](auto& transaction) {
    transaction.exec(take_time);
    switch (repair.what) {
      case Repair::What::add_spend:
        return add_spend(session, transaction, repair);
      case Repair::What::settle:
        return settle(session, transaction, terms, repair);
      case Repair::What::give_back:
        break;
    }
    return give_back(session, transaction, repair);
  });
}

Baseline take_baseline(postgres::Session& session) {
  return session.transact([&](auto& transaction) {
    transaction.exec(take_time);
    session.exec(transaction, sql::repair::forget_baseline);
    const auto row = session.exec(transaction, sql::repair::take_baseline)[0];
    return Baseline{.wallets = row[0].template as<std::int64_t>(),
                    .openings = row[1].template as<std::int64_t>()};
  });
}

}  // namespace saathii::audit

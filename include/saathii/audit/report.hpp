#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"

// What an audit tells, as plain values.

namespace saathii::audit {

inline constexpr int invariants = 10;

/// One place where an invariant does not hold.
struct Offender {
  std::string kind;  ///< one word, for programs
  std::optional<std::int64_t> call_id = {};
  std::optional<std::int64_t> user_id = {};
  std::string expected = {};
  std::string found = {};
};

enum class Result { holds, violated, not_checked };

/// "holds", "violated", "not_checked".
[[nodiscard]] std::string_view to_string(Result result);

struct Finding {
  int number = 0;             ///< from 1
  std::string_view name;      ///< one word, for programs
  std::string_view sentence;  ///< what holds if it does
  Result result = Result::holds;
  std::int64_t violations = 0;
  std::vector<std::pair<std::string, std::int64_t>> kinds = {};  ///< how many of each
  std::vector<Offender> offenders = {};  ///< the first of each kind, at most Options::limit
  std::vector<std::string> notes = {};   ///< why it was not checked, and what else is to know
};

struct Report {
  Instant as_of;                              ///< by the database's clock
  std::optional<Instant> since = {};          ///< calls that had ended are covered from here on
  std::optional<Instant> charged_until = {};  ///< minutes that started until then must be charged
  std::optional<Instant> last_run = {};       ///< of charging, when it began
  std::optional<Instant> baseline = {};       ///< when it was taken
  std::vector<Finding> findings = {};         ///< one for each invariant, in order
  std::vector<std::pair<std::string, std::int64_t>> looked_at = {};  ///< "calls", "charges", …

  [[nodiscard]] bool is_violated() const;
};

/// A row that would make good what is wrong, with what goes with it in the same
/// transaction.
struct Repair {
  enum class What {
    give_back,  ///< a charged minute after the call's end
    add_spend,  ///< the transaction of a charge that the wallet has had
    settle      ///< a dropped call whose listener was not paid
  };
  What what = What::give_back;
  int invariant = 0;
  std::int64_t call_id = 0;           ///< 0: of no call
  std::int64_t user_id = 0;           ///< whose wallet
  std::int64_t minute = 0;            ///< of give_back; for settle how many
  std::int64_t coins = 0;             ///< given back, spent, or paid for the call
  std::string money;                  ///< rupees earned; empty: none
  std::optional<Instant> since = {};  ///< of add_spend: the report's, for what it proves
};

/// The word of a Repair::What: "give_back", "add_spend", "settle".
[[nodiscard]] std::string_view to_string(Repair::What what);

/// Violations that no row makes good, and why.
struct LeftToPeople {
  int invariant = 0;
  std::string kind;
  std::int64_t count = 0;
  std::string why;
};

struct Plan {
  std::vector<Repair> repairs;
  std::vector<LeftToPeople> left;
  bool is_complete = true;  ///< false: more of them than one run of repairs does
};

struct Baseline {
  std::int64_t wallets = 0;   ///< there are
  std::int64_t openings = 0;  ///< had something before their first transaction
};

}  // namespace saathii::audit

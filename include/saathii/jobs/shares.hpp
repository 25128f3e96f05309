#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::jobs {

/// A run's work in slices, claimed one by one by the sessions of the leader and of
/// the instances that stand by, so that no two do the same. Worker threads; every
/// call takes the session it is made on.
class Shares {
 public:
  using Counts = std::map<std::string, std::int64_t>;

  /// How many instances stand by and could take a share.
  [[nodiscard]] static std::int64_t helpers(postgres::Session& session);

  /// The leader's: offers `slices` slices of the run of `job` as of `moment`.
  static Shares offer(postgres::Session& session, std::string job, std::int64_t term,
                      Instant moment, int slices);
  /// A helper's: what the leader offers, if it does.
  static std::optional<Shares> find(postgres::Session& session, const std::string& job);

  [[nodiscard]] std::int64_t term() const noexcept { return term_; }
  [[nodiscard]] Instant moment() const noexcept { return moment_; }
  [[nodiscard]] int slices() const noexcept { return slices_; }

  /// A slice that nobody else works on; none is left, or all that are have been
  /// claimed by somebody who is alive.
  [[nodiscard]] std::optional<int> claim(postgres::Session& session) const;
  /// It is done; with a helper's counts, which are the leader's to report.
  void finish(postgres::Session& session, int slice, const Counts& counts) const;
  /// It is not, but what was counted was; anybody may go on with it.
  void give_back(postgres::Session& session, int slice, const Counts& counts) const;

  /// How many slices are not done.
  [[nodiscard]] std::int64_t left(postgres::Session& session) const;
  /// What helpers have counted.
  [[nodiscard]] Counts sums(postgres::Session& session) const;
  /// The leader's, at the end: nothing is offered any more.
  void close(postgres::Session& session) const;

 private:
  void account_for(postgres::Session& session, const postgres::Statement& how, int slice,
                   const Counts& counts) const;
  Shares(std::string job, std::int64_t term, Instant moment, int slices)
      : job_(std::move(job)), term_(term), moment_(moment), slices_(slices) {}

  std::string job_;
  std::int64_t term_;
  Instant moment_;
  int slices_;
};

}  // namespace saathii::jobs

#include "saathii/jobs/shares.hpp"

#include <nlohmann/json.hpp>

#include "leadership.sql.hpp"
#include "shares.sql.hpp"

namespace saathii::jobs {

std::int64_t Shares::helpers(postgres::Session& session) {
  return session.autocommit([&](auto& each) {
    return session.exec(each, sql::shares::others)[0][0].template as<std::int64_t>();
  });
}

Shares Shares::offer(postgres::Session& session, std::string job, std::int64_t term, Instant moment,
                     int slices) {
  session.transact([&](auto& transaction) {
    session.exec(transaction, sql::shares::forget, job);
    session.exec(transaction, sql::shares::offer, job, term, to_iso8601(moment), slices);
    return session.exec(transaction, sql::leadership::notify);
  });
  return {std::move(job), term, moment, slices};
}

std::optional<Shares> Shares::find(postgres::Session& session, const std::string& job) {
  const auto found =
      session.autocommit([&](auto& each) { return session.exec(each, sql::shares::find, job); });
  if (found.empty()) {
    return std::nullopt;
  }
  return Shares(job, found[0][0].as<std::int64_t>(),
                Instant{Duration{found[0][1].as<std::int64_t>()}}, found[0][2].as<int>());
}

std::optional<int> Shares::claim(postgres::Session& session) const {
  const auto claimed = session.autocommit([&](auto& each) {
    return session.exec(each, sql::shares::claim, job_, term_, to_iso8601(moment_));
  });
  return claimed.empty() ? std::nullopt : std::optional(claimed[0][0].as<int>());
}

void Shares::finish(postgres::Session& session, int slice, const Counts& counts) const {
  account_for(session, sql::shares::finish, slice, counts);
}

void Shares::give_back(postgres::Session& session, int slice, const Counts& counts) const {
  account_for(session, sql::shares::give_back, slice, counts);
}

void Shares::account_for(postgres::Session& session, const postgres::Statement& how, int slice,
                         const Counts& counts) const {
  session.autocommit([&](auto& each) {
    return session.exec(each, how, job_, term_, to_iso8601(moment_), slice,
                        nlohmann::json(counts).dump());
  });
}

std::int64_t Shares::left(postgres::Session& session) const {
  return session.autocommit([&](auto& each) {
    return session.exec(each, sql::shares::left, job_, term_, to_iso8601(moment_))[0][0]
        .template as<std::int64_t>();
  });
}

Shares::Counts Shares::sums(postgres::Session& session) const {
  return session.autocommit([&](auto& each) {
    Counts counts;
    for (const auto& row :
         session.exec(each, sql::shares::sums, job_, term_, to_iso8601(moment_))) {
      counts[row[0].c_str()] = row[1].template as<std::int64_t>();
    }
    return counts;
  });
}

void Shares::close(postgres::Session& session) const {
  session.transact(
      [&](auto& transaction) { return session.exec(transaction, sql::shares::forget, job_); });
}

}  // namespace saathii::jobs

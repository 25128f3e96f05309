#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "command_line.hpp"
#include "console.hpp"
#include "saathii/audit/audit.hpp"

// `saathiictl audit`: the one command that asks the database and not the daemon,
// because who audits a program does not ask it.

namespace saathii::ctl {

/// Who does the audit; audit::Desk, or a test's.
class Auditor {
 public:
  virtual ~Auditor() = default;

  /// Of the business day, in which times are told.
  [[nodiscard]] virtual TimeZone zone() const = 0;

  // As the functions of audit.hpp; Ctrl-C breaks them off, as Stopped.
  virtual audit::Report run(const audit::Options& options, const audit::Progress& progress) = 0;
  virtual audit::Plan plan(const audit::Report& report) = 0;
  virtual bool apply(const audit::Repair& repair) = 0;
  virtual audit::Baseline take_baseline() = 0;
};

/// The configuration of the daemon has this wrong, a line for each problem.
class BadConfiguration : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Opens what an audit needs; throws BadConfiguration, or as audit::Desk does.
using OpenAuditor = std::function<std::unique_ptr<Auditor>()>;

/// By the daemon's configuration.
[[nodiscard]] std::unique_ptr<Auditor> open_auditor(const AuditArguments& arguments);

/// Does what the command line says and returns the exit code.
[[nodiscard]] int carry_out_audit(const CommandLine& command, const OpenAuditor& open,
                                  Console& console);

/// What became of a repair of a plan.
struct Repaired {
  enum class Result { planned, done, not_needed, failed } result = Result::planned;
  std::string why;  ///< of one that failed
};

using Json = nlohmann::ordered_json;

// What people and programs read of it. Pure.

[[nodiscard]] std::string report_view(const audit::Report& report, Duration took,
                                      const Screen& screen);
[[nodiscard]] std::string plan_view(const audit::Plan& plan, const Screen& screen);
[[nodiscard]] std::string repaired_view(const audit::Plan& plan,
                                        const std::vector<Repaired>& repaired,
                                        const Screen& screen);
[[nodiscard]] Json to_json(const audit::Report& report, Duration took);
[[nodiscard]] Json to_json(const audit::Plan& plan, const std::vector<Repaired>& repaired);

/// One line while the audit goes on: a bar, and how much time it may yet take.
[[nodiscard]] std::string audit_progress_view(std::string_view what, double share, Duration went,
                                              const Screen& screen);

}  // namespace saathii::ctl

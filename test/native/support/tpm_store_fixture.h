// A store whose root is in a simulated TPM.
#pragma once

#include "protectors/tpm/tpm_slot.h"
#include "reliability_fixture.h"
#include "store/operations/passwords.h"
#include "store/operations/reanchoring.h"
#include "store/operations/root_recovery.h"
#include "store/start/start.h"
#include "vendor_key.h"

namespace strongroom::store::testing {

inline EngineOptions tpm_options(std::string_view password = "backup") {
  EngineOptions options = store_options(password);
  options.secret_store.reset();
  options.protector = ProtectorType::kTpm;
  options.without_recovery = password.empty();
  return options;
}

struct TpmWorld : World {
  TpmWorld() {
    chip = std::make_shared<SimulatedChip>();
    options = [] { return tpm_options(); };
  }
};

inline std::uint32_t index_of(const World& world, roots::NvKind kind) {
  for (const auto& [number, index] : world.chip->indices()) {
    if (index.kind == kind) return number;
  }
  return 0;
}
inline std::uint32_t counter_index_of(const World& world) { return index_of(world, roots::NvKind::kCounter); }
inline std::uint32_t extend_index_of(const World& world) { return index_of(world, roots::NvKind::kExtend); }

// A cleanly closed store with a few records.
inline Image small_tpm_store(World& world) {
  {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(session.set("k" + std::to_string(i), "value").ok());
    EXPECT_TRUE(session.increment("tokens", 100).ok());
    EXPECT_TRUE(session.close().ok());
  }
  world.clock.advance(1000);
  return Image(world);
}

inline Status open_and_close(World& world) {
  Session session(world);
  SR_TRY(session.open());
  return session.close();
}

// The steps after a root that is refused: by password to the vault.
inline Status recovery_steps(Engine& engine, std::string_view password) {
  SR_TRY(Start(engine).determine_startup_state().status());
  SR_TRY(Start(engine).setup_persistence_files());
  SR_TRY(Start(engine).initialize_recovery(as_bytes(password)));
  SR_TRY(Start(engine).create_and_load_vault());
  return Start(engine).initialize_storage_identifier();
}

// As the command does: as usual, and where the TPM refuses the root, by the password.
inline Status steps_to_authority(Engine& engine, std::string_view password) {
  SR_TRY(Start(engine).determine_startup_state().status());
  SR_TRY(Start(engine).setup_persistence_files());
  if (const Status recovery = Start(engine).initialize_recovery(as_bytes(password));
      recovery.is(Reason::kNothingToDo)) {
    SR_TRY(Start(engine).initialize_warmstart());
  } else {
    SR_TRY(recovery);
  }
  SR_TRY(Start(engine).create_and_load_vault());
  return Start(engine).initialize_storage_identifier();
}

inline Status reanchor_tpm(World& world, const Credential& credential, std::string_view password = "backup") {
  Session session(world);
  SR_TRY(steps_to_authority(session.engine(), password));
  SR_TRY(Reanchoring(session.engine()).reanchor(credential));
  return session.close();
}

inline Status reseal_tpm(World& world, const Credential& credential, std::string_view password = "backup") {
  Session session(world);
  SR_TRY(recovery_steps(session.engine(), password));
  SR_TRY(RootRecovery(session.engine()).reseal(credential));
  return session.close();
}

inline Credential token_proof(Bytes token) { return Credential{SecretBytes(), std::move(token)}; }

// Over what a token must name now.
inline Bytes tpm_token(const VendorKey& vendor, World& world, Purpose purpose) {
  Session session(world);
  const Status status = steps_to_authority(session.engine(), "backup");
  EXPECT_TRUE(status.ok()) << describe(status);
  const EngineStatus told = session.engine().status();
  return vendor.permit(purpose, told.storage_id, told.permit_checkpoint);
}

class TpmStoreTest : public ::testing::Test {
 protected:
  static TpmStatus tpm_of(Session& session) { return *session.engine().status().tpm; }
  static WitnessStatus counter_of(Session& session) { return session.engine().status().witnesses.back(); }
  Status open_status() {
    Session session(world);
    return session.open();
  }
  // Refused with this reason, and neither a file nor the TPM's memory has changed.
  void expect_refused(World& from, Reason reason, const std::string& what) {
    const Files before = files_of(*from.disk);
    const std::uint64_t value = from.chip->value();
    Session session(from);
    const Status status = session.open();
    EXPECT_TRUE(status.is(reason)) << what << ": " << describe(status);
    EXPECT_EQ(files_of(*from.disk), before) << what << ": a file changed";
    EXPECT_EQ(from.chip->value(), value) << what << ": the counter moved";
  }
  Status change_password(const char* from, const char* to) {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(Passwords(session.engine()).change(as_bytes(from), SecretBytes(as_bytes(to))).status());
    return session.close();
  }

  TpmWorld world;
};

}  // namespace strongroom::store::testing

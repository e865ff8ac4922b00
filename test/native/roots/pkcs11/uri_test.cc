// RFC 7512, section 2.
#include <gtest/gtest.h>

#include <vector>

#include "roots/pkcs11/token.h"

namespace strongroom::roots {
namespace {

TEST(Pkcs11Uri, Whole) {
  const auto parsed = parse_pkcs11_uri(
      "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial="
      "4711;"
      "slot-id=0327;object=my%2dkek;id=%69%95%3e%00;type=secret-key;x-vendor=;x-vendor=2"
      "?module-path=/usr/lib/a%20b/libx.so&pin-source=file:/etc/token_pin&x-more=?/|");
  ASSERT_TRUE(parsed.ok()) << parsed.error().detail;
  const TokenLocator& locator = parsed->locator;
  EXPECT_EQ(locator.label, "The Software PKCS#11 Softtoken");
  EXPECT_EQ(locator.manufacturer, "Snake Oil, Inc.");
  EXPECT_EQ(locator.model, "1.0");
  EXPECT_EQ(locator.serial, "4711");
  EXPECT_EQ(locator.slot_id, 327U);
  EXPECT_EQ(locator.object, "my-kek");
  EXPECT_EQ(parsed->id, (Bytes{0x69, 0x95, 0x3e, 0}));
  EXPECT_EQ(locator.module, "/usr/lib/a b/libx.so");
  EXPECT_EQ(parsed->pin_source, "file:/etc/token_pin");
}

TEST(Pkcs11Uri, Accepted) {
  for (const char* uri : {
           "pkcs11:token=a",
           "PKCS11:serial=a",
           "pkcs11:slot-id=0",
           "pkcs11:slot-id=18446744073709551615",
           "pkcs11:token=a:[]@!$'()*+,=&b",
           "pkcs11:token=%C3%A9",
           "pkcs11:token=%3b%3B%3F",
           "pkcs11:token=a;type=private",
           "pkcs11:token=a?",
           "pkcs11:token=a?module-path=/a?b/c",
           "pkcs11:token=a;x-y=%00",
       }) {
    const auto parsed = parse_pkcs11_uri(uri);
    EXPECT_TRUE(parsed.ok()) << uri << ": " << parsed.error().detail;
  }
  EXPECT_EQ(parse_pkcs11_uri("pkcs11:token=%3b%3B%3F")->locator.label, ";;?");
  EXPECT_TRUE(parse_pkcs11_uri("pkcs11:token=a")->locator.module.empty());
  EXPECT_FALSE(parse_pkcs11_uri("pkcs11:token=a")->pin_source.has_value());
}

TEST(Pkcs11Uri, Refused) {
  struct Case {
    std::string uri;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"", "begins with"},
      {"pkcs11", "begins with"},
      {"pkcs12:token=a", "begins with"},
      {" pkcs11:token=a", "begins with"},
      {"pkcs11:", "names no token"},
      {"pkcs11:object=kek", "names no token"},
      {"pkcs11:manufacturer=a;model=b", "names no token"},
      {"pkcs11:token", "a name, '='"},
      {"pkcs11:=a", "a name, '='"},
      {"pkcs11:tok%65n=a", "a name, '='"},
      {"pkcs11:;token=a", "a name, '='"},
      {"pkcs11:token=a;;serial=b", "a name, '='"},
      {"pkcs11:token=a;", "ends with a separator"},
      {"pkcs11:token=a?module-path=/a&", "ends with a separator"},
      {"pkcs11:token=", "'token' is empty"},
      {"pkcs11:token=a%00b", "holds a NUL"},
      {"pkcs11:token=a;token=b", "'token' stands twice"},
      {"pkcs11:token=a;token=a", "'token' stands twice"},
      {"pkcs11:token=a?pin-source=b&pin-source=c", "'pin-source' stands twice"},
      {"pkcs11:token=a b", "percent-encoded"},
      {"pkcs11:token=a#b", "percent-encoded"},
      {"pkcs11:token=a/b", "percent-encoded"},
      {"pkcs11:token=\xc3\xa9", "percent-encoded"},
      {"pkcs11:token=%", "percent-encoded"},
      {"pkcs11:token=%4", "percent-encoded"},
      {"pkcs11:token=%4g", "percent-encoded"},
      {"pkcs11:token=" + std::string(33, 'a'), "at most 32"},
      {"pkcs11:serial=" + std::string(17, 'a'), "at most 16"},
      {"pkcs11:token=a;object=" + std::string(129, 'a'), "at most 128"},
      {"pkcs11:token=a;id=", "1 to 64"},
      {"pkcs11:token=a;id=" + std::string(65, 'a'), "1 to 64"},
      {"pkcs11:slot-id=", "is empty"},
      {"pkcs11:slot-id=-1", "not a number"},
      {"pkcs11:slot-id=+1", "not a number"},
      {"pkcs11:slot-id=1a", "not a number"},
      {"pkcs11:slot-id=0x1", "not a number"},
      {"pkcs11:slot-id=18446744073709551616", "not a number"},
      {"pkcs11:token=a;type=public", "'type'"},
      {"pkcs11:token=a;type=cert", "'type'"},
      {"pkcs11:token=a;Type=private", "'Type'"},
      {"pkcs11:token=a;library-version=3", "'library-version'"},
      {"pkcs11:token=a;slot-description=b", "'slot-description'"},
      {"pkcs11:token=a;unknown=b", "'unknown'"},
      {"pkcs11:token=a;module-path=%2fa", "'module-path'"},
      {"pkcs11:token=a?token=b", "'token'"},
      {"pkcs11:token=a?module-name=softhsm2", "'module-name'"},
      {"pkcs11:token=a?module-path=libx.so", "absolute"},
      {"pkcs11:token=a?pin-value=1234", "'pin-value' is refused"},
      {"pkcs11:token=a?pin-source=", "'pin-source' is empty"},
      {"pkcs11:token=a;x-v=" + std::string(4096, 'a'), "at most 4,096"},
  };
  for (const Case& one : cases) {
    const auto parsed = parse_pkcs11_uri(one.uri);
    ASSERT_TRUE(parsed.is(Reason::kInvalidOption)) << one.uri;
    EXPECT_NE(parsed.error().detail.find(one.says), std::string::npos)
        << one.uri << ": " << parsed.error().detail;
  }
  EXPECT_EQ(parse_pkcs11_uri("pkcs11:token=a?pin-value=98765").error().detail.find("98765"),
            std::string::npos);
}

}  // namespace
}  // namespace strongroom::roots

#!/usr/bin/env bash
# Makes the font files from the npm package vazirmatn, with fonttools and brotli: the letters, digits and signs of
# Persian, Arabic and English texts in every weight. Usage: tools/commands/font.sh 33.0.3
set -euo pipefail
version=$1 fonts=$(realpath "$(dirname "$0")/../../services/estelam/presentation/fonts") work=$(mktemp -d)
cd "$work"
npm pack --silent "vazirmatn@$version"
tar xzf "vazirmatn-$version.tgz"
unicodes=U+0020-007E,U+00A0,U+00A7,U+00AB,U+00B0,U+00B1,U+00B7,U+00BB,U+00D7,U+060C,U+061B,U+061F,U+0621-063A,U+0640-0655
unicodes+=,U+0660-066C,U+0670,U+067E,U+0686,U+0698,U+06A9,U+06AF,U+06C0,U+06CC,U+06D5,U+06F0-06F9,U+200B-200F,U+2010-2015
unicodes+=,U+2018-201E,U+2022,U+2026,U+202A-202E,U+2032,U+2033,U+2039,U+203A,U+2066-2069,U+2212,U+2260,U+2264,U+2265,U+FDFC
subset() {
  pyftsubset "package/fonts/variable/Vazirmatn[wght].ttf" --unicodes="$unicodes" --no-hinting \
    --layout-features=kern,mark,mkmk,ccmp,init,medi,fina,rlig,calt,liga,locl,tnum "$@"
}
subset --flavor=woff2 --output-file="$fonts/vazirmatn-$version.woff2"
subset --output-file="$fonts/vazirmatn-$version.ttf"
cp package/OFL.txt "$fonts"

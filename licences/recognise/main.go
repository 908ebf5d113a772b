// Reads names of files, one a line, and says for each of them as a line of JSON which licences its text is.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	"github.com/google/licensecheck"
)

// Licences that the library does not know, or only by their whole text, by a phrase that each text has.
var more = []licensecheck.License{
	{ID: "SSPL-1.0", LRE: "Server Side Public License"},
	{ID: "BUSL-1.1", LRE: "Business Source License 1.1"},
	{ID: "Elastic-2.0", LRE: "Elastic License 2.0"},
	{ID: "Elastic-1.0", LRE: "Elastic License Agreement"},
}

type answer struct {
	Path string   `json:"path"`
	IDs  []string `json:"ids"`
	// How much of the text is that of licences, in percent of its words.
	Share float64 `json:"share"`
}

func main() {
	log.SetFlags(0)
	scanner, err := licensecheck.NewScanner(append(licensecheck.BuiltinLicenses(), more...))
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text, err := os.ReadFile(lines.Text())
		if err != nil {
			log.Fatal(err)
		}
		found := scanner.Scan(text)
		one := answer{Path: lines.Text(), IDs: []string{}, Share: found.Percent}
		for _, match := range found.Match {
			if !match.IsURL {
				one.IDs = append(one.IDs, match.ID)
			}
		}
		if err := out.Encode(one); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

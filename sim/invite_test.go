package sim

import "testing"

// Invites and requests in a simulated world, across a partition: the invariants must hold,
// and the right members must be in at the end.
func TestInvitesAndRequests(t *testing.T) {
	for name, text := range map[string]string{
		"invite": `# Invites under partition
nodes anna ben carl dora emil fritz gerd
group tea founder=anna policy=invite
run 75m
expect members anna ben carl dora emil
expect lost = 0
0s invite anna friends
0s join ben carl invite=friends
10m invite anna once uses=1
11m partition anna ben dora | carl emil
12m join dora invite=once
12m join emil invite=once
20m send anna ben carl
30m heal
40m join fritz invite=once
50m uninvite anna friends
51m join gerd invite=friends
60m send anna ben carl dora emil
`,
		"expires": `# An invite ends
nodes anna ben carl
group tea founder=anna policy=invite
run 30m
expect members anna ben
expect lost = 0
0s invite anna soon expires=5m role=admin
1m join ben invite=soon
2m send ben
6m join carl invite=soon
20m send anna
`,
		"request": `# Requests reach an admin through a member
nodes anna ben carl dora
group tea founder=anna policy=request
run 75m
expect members anna ben carl
expect lost = 0
0s join ben
1m approve anna ben
2m cut anna carl
2m cut carl anna
2m cut anna dora
2m cut dora anna
3m join carl dora
10m approve anna carl
10m deny anna dora
20m send anna ben carl
`,
	} {
		sc, err := ParseBytes(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), sc, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations)+len(r.Unexpected)+len(r.Refused) > 0 || r.Records.Sent == 0 {
			t.Errorf("%s: %v %v, refused %v, records %+v", name, r.Violations, r.Unexpected, r.Refused, r.Records)
		}
	}
}

//! The list of what every store must do: one line a law, and each engine runs them all (`store_suite!`).

/// Every law, as tests of one engine.
#[macro_export]
macro_rules! store_suite {
    ($fresh:path) => {
        $crate::store_suite!(@each $fresh:
            a_slice_replaces_its_area_and_twice_changes_nothing,
            slices_of_one_commit_are_counted_one_by_one,
            overlapping_areas_of_one_commit_end_as_if_one_came_after_the_other,
            a_range_of_keys_is_replaced_and_every_other_key_stays,
            merging_never_erases_and_never_withdraws,
            a_worse_source_fills_gaps_and_overwrites_nothing,
            columns_that_a_source_lacks_keep_what_is_stored,
            a_column_that_a_better_source_lacks_is_corrected_by_whoever_gave_it,
            a_claim_does_not_speak_of_exchanges_that_its_source_lacks,
            merging_follows_the_rule_of_each_column,
            the_first_write_wins_where_the_rule_says_so,
            the_last_fetch_wins_where_the_rule_says_so,
            a_row_that_differs_waits_beside_the_stored_one_until_a_person_decides,
            the_offered_row_can_be_taken,
            a_source_that_agrees_again_settles_its_conflict,
            a_column_that_the_source_lacks_takes_no_part_in_a_conflict,
            an_older_version_never_overwrites_a_newer_one,
            another_content_of_the_same_version_waits_until_a_newer_one_comes,
            rows_that_are_named_are_withdrawn_and_no_others,
            a_webhook_takes_a_message_in_once_and_what_waits_is_settled_once,
            received_messages_are_found_by_what_they_are_about_and_old_ones_forgotten,
            a_row_whose_day_moves_is_counted_where_it_is,
            a_new_claim_cuts_what_it_overlaps,
            a_claim_of_the_market_replaces_those_of_securities_inside,
            a_late_or_doubled_worker_is_refused,
            a_leased_task_is_its_workers_until_the_lease_ends,
            places_are_shared_and_never_more_than_the_limits,
            a_dataset_has_one_open_task,
            tasks_follow_their_states_and_say_so,
            progress_and_rows_add_up_in_the_totals_of_the_task,
            failures_are_kept_once_and_resolved_by_rows,
            calls_are_added_up_by_source_api_and_day,
            events_are_numbered_without_gaps_and_written_with_their_commit,
            refused_rows_are_kept_once_and_not_served,
            a_commit_that_fails_leaves_nothing,
            queries_filter_order_and_page,
            exact_decimals_are_compared_as_numbers,
            unknown_names_are_not_found_and_bad_values_invalid,
            a_scan_sees_one_moment,
            tables_are_widened_and_other_differences_refused,
            the_summary_counts_without_looking_at_rows,
            random_changes_end_as_in_a_plain_model,
            what_was_believed_is_read_as_of_then,
            rows_are_counted_by_the_source_that_wrote_them_last,
            a_task_knows_what_each_source_inserted_and_updated,
            runs_are_found_by_their_slot_and_those_beside_it,
            a_run_is_kept_as_it_was_asked_for_and_rewritten_as_it_goes,
            a_message_and_its_event_are_written_once_and_its_content_stays_out_of_the_log,
            a_message_that_must_be_new_and_is_not_refuses_the_whole_commit,
            a_series_has_no_gap_and_no_number_twice,
            cursors_go_forward_from_where_they_stand_and_places_are_kept,
            a_first_place_is_taken_once_and_old_places_are_forgotten,
            a_duty_has_one_holder_whose_commits_count,
            a_delivery_waits_once_until_an_attempt_settles_it,
            a_person_skips_parks_and_retries_deliveries,
            a_decision_made_during_an_attempt_stays_unless_the_attempt_settles_it,
            attempts_are_found_by_what_they_are_and_old_ones_are_forgotten,
            figures_tell_how_each_subscription_fares,
            a_job_runs_once_for_an_instant_and_a_slot_has_one_open_run,
            a_run_is_taken_when_its_time_has_come_and_an_older_worker_is_refused,
            a_leased_run_is_its_workers_until_the_lease_ends,
            a_cancelled_run_stops_its_worker_and_keeps_what_was_done,
            runs_are_listed_newest_first_and_old_ones_forgotten,
            runs_say_what_becomes_of_them,
            definitions_are_changed_as_they_were_read_and_their_bodies_told_nobody,
            the_journal_is_filtered_paged_and_forgotten,
            a_report_is_kept_with_its_differences_and_its_event_has_no_value,
            reports_are_listed_newest_first_and_old_ones_forgotten_by_name,
            repaired_differences_are_marked_until_the_repair_is_taken_back,
            the_last_event_about_a_row_is_found_by_its_subject_or_key,
            whoever_waits_is_told_of_commits,
            events_and_commits_are_found_by_what_they_are_about,
        );

        #[test]
        fn a_store_read_as_of_any_past_instant_equals_a_copy_taken_then() {
            $crate::store_as_of::random_histories(|| $fresh());
        }
    };
    (@each $fresh:path: $($law:ident,)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                let fresh = $fresh().await;
                $crate::store_suite::$law(&*fresh.store).await;
            }
        )*
    };
}
